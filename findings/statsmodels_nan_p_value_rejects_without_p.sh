#!/usr/bin/env bash

# statsmodels 0.15.0: one p-value that is NaN turns every p-value adjusted by Benjamini-Hochberg into
# NaN, while the decisions beside them still say "reject"; Holm's method leaves the others alone.
#
# Guessed: the undefined test is left out, or all methods treat it alike, and a hypothesis that is
# rejected has an adjusted p-value below the level.
# Seen: multipletests([0.001, 0.02, nan, 0.5], method="fdr_bh") gives the decisions
# [True, True, False, False] and the adjusted values [nan, nan, nan, nan]; with method="holm" they are
# [0.004, 0.06, nan, 1.0], adjusted for four tests although only three are defined.
#
# A test over heads of which one is constant (its correlation is undefined) meets this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check statsmodels==0.15.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from statsmodels.stats.multitest import multipletests

print("statsmodels", version("statsmodels"))
values = [0.001, 0.02, np.nan, 0.5]
rejected, adjusted, *_ = multipletests(values, method="fdr_bh")
print("fdr_bh", rejected.tolist(), adjusted.tolist())
assert rejected.tolist() == [True, True, False, False]
assert np.isnan(adjusted).all()

rejected, adjusted, *_ = multipletests(values, method="holm")
print("holm  ", rejected.tolist(), adjusted.tolist())
assert np.isnan(adjusted).tolist() == [False, False, True, False]
assert np.allclose(adjusted[[0, 1, 3]], [0.004, 0.06, 1.0])

_, of_three, *_ = multipletests([0.001, 0.02, 0.5], method="holm")
print("holm, without the undefined one", of_three.tolist())
assert np.allclose(of_three, [0.003, 0.04, 0.5])
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
