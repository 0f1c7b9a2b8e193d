#!/usr/bin/env bash
# transformers 5.23.0: Gemma 3 and OLMo 3 read a rotary scaling of config.json whose kind is called
# `type`, as older releases wrote it, as none; Llama reads the same lines as they are meant.
#
# Guessed: the old spelling is understood or refused everywhere alike.
# Seen: with rope_scaling {"type": "linear", "factor": 8.0} the frequencies of the full layers are the
# unscaled ones; `type` and `factor` stay in rope_parameters beside rope_type "default", and a line of
# the log calls `factor` unrecognised. With "rope_type" in the place of "type" they are divided by 8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PYTHON'
import json
import warnings
from importlib.metadata import version
from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM

print("transformers", version("transformers"))
sizes = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    "rope_theta": 10000.0,
}
factors = {}
for kind in ("llama", "gemma3_text", "olmo3"):
    for key in ("rope_type", "type"):
        settings = {"model_type": kind, **sizes, "rope_scaling": {key: "linear", "factor": 8.0}}
        Path("config.json").write_text(json.dumps(settings))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            config = AutoConfig.from_pretrained(".")
            buffers = dict(AutoModelForCausalLM.from_config(config).named_buffers())
        names = ("model.rotary_emb.full_attention_inv_freq", "model.rotary_emb.inv_freq")
        first = next(buffers[name] for name in names if name in buffers)[0].item()
        factors[kind, key] = 1 / first
        print(kind, key, "frequencies are divided by", factors[kind, key], "warnings", len(said))
assert all(factors[kind, "rope_type"] == 8 for kind in ("llama", "gemma3_text", "olmo3"))
assert factors["llama", "type"] == 8
assert factors["gemma3_text", "type"] == factors["olmo3", "type"] == 1
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
