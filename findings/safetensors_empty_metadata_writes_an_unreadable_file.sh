#!/usr/bin/env bash
# safetensors 0.8.0: a file of no tensors that is saved with metadata={} cannot be read by anything: its
# header is not JSON.
#
# Guessed: an empty mapping of metadata is like none; saving raises, or loading gives an empty mapping.
# Seen: save_file({}, path, metadata={}) succeeds and writes the header {},"__metadata__":{}} ; load_file
# raises SafetensorError. With metadata=None, or with one entry, the same file is read. A shard that
# is left without rows is such a file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

print("safetensors", version("safetensors"))
save_file({}, "none.safetensors", metadata=None)
save_file({}, "one.safetensors", metadata={"made": "by hand"})
assert load_file("none.safetensors") == load_file("one.safetensors") == {}
save_file({}, "empty.safetensors", metadata={})
content = Path("empty.safetensors").read_bytes()
header = content[8 : 8 + int.from_bytes(content[:8], "little")].decode().strip()
print("header", header)
assert header == '{},"__metadata__":{}}', header
try:
    load_file("empty.safetensors")
except SafetensorError as error:
    print("load_file:", error)
else:
    raise AssertionError("the file can be read now")
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
