#!/usr/bin/env bash

# safetensors 0.8.0: safetensors.numpy.save_file writes an array that is not contiguous (a transposed
# one, or every second row) with the right shape and the wrong numbers, without a word; for torch
# tensors the same call refuses.
#
# Guessed: what is loaded is what was saved, or saving raises, as safetensors.torch does ("You are
# trying to save a non contiguous tensor").
# Seen: [[0, 3], [1, 4], [2, 5]], the transpose of [[0, 1, 2], [3, 4, 5]], comes back as
# [[0, 1], [2, 3], [4, 5]]; np.arange(10)[::2] comes back as [0, 1, 2, 3, 4]. The bytes that follow in
# memory are taken. numpy.ascontiguousarray before saving is the remedy; an array of activations
# that was transposed to [layer, head, ...] is just such a one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

print("safetensors", version("safetensors"))
transposed = np.arange(6).reshape(2, 3).T
every_second = np.arange(10)[::2]
save_file({"transposed": transposed, "every_second": every_second}, "arrays.safetensors")
back = load_file("arrays.safetensors")
for name, array in (("transposed", transposed), ("every_second", every_second)):
    print(name, "saved", array.tolist(), "loaded", back[name].tolist())
    assert back[name].shape == array.shape
assert back["transposed"].tolist() == [[0, 1], [2, 3], [4, 5]]
assert back["every_second"].tolist() == [0, 1, 2, 3, 4]

whole = {"transposed": np.ascontiguousarray(transposed)}
save_file(whole, "arrays.safetensors")
assert (load_file("arrays.safetensors")["transposed"] == transposed).all()
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
