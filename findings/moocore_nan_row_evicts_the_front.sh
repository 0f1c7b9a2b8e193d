#!/usr/bin/env bash

# moocore 0.3.2: one row that holds a NaN beside a small number pushes every good row out of the
# non-dominated set, and is ranked first itself; a row of NaN alone is dominated by the others.
#
# Guessed: a point with an undefined objective is refused, or never counts as better than another.
# Seen: is_nondominated([[1, 2], [2, 1], [3, 3]]) is [True, True, False]; with the row [NaN, 0]
# added it is [False, False, False, True]. In three dimensions pareto_rank puts the NaN row at 0
# and all others at 1. The hypervolume is the same with the row and without it, so that an archive
# that loses its front this way shows no sign of it there.
#
# Comparisons with NaN are false, so nothing says that the row is worse in that objective.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check moocore==0.3.2
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import moocore
import numpy as np

print("moocore", version("moocore"))
good = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
with_nan = np.vstack([good, [np.nan, 0.0]])
of_good, of_both = moocore.is_nondominated(good), moocore.is_nondominated(with_nan)
print("without the row", of_good.tolist())
print("with [nan, 0]", of_both.tolist())
assert of_good.tolist() == [True, True, False]
assert of_both.tolist() == [False, False, False, True]

volumes = [float(moocore.hypervolume(points, ref=[4, 4])) for points in (good, with_nan)]
print("hypervolume without and with it", volumes)
assert volumes[0] == volumes[1] == 8.0

three = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0], [np.nan, 0.0, 1.0]])
ranks = moocore.pareto_rank(three)
print("ranks in three dimensions", ranks.tolist())
assert ranks.tolist() == [1, 1, 1, 0]

alone = np.vstack([good, [np.nan, np.nan]])
print("with [nan, nan]", moocore.is_nondominated(alone).tolist())
assert moocore.is_nondominated(alone).tolist() == [True, True, False, False]
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
