#!/usr/bin/env bash
# transformers 5.23.0: the key-value cache that a model with a sliding window of 4 fills on a prompt of 10
# tokens holds 3 keys, though it says that its length is 10; a DynamicCache() that the caller hands in
# holds all 10.
#
# Guessed: a cache of get_seq_length() 10 has keys for 10 positions (or for the 4 of the window), and
# both ways of having one made give the same.
# Seen: keys of 3 positions in the model's own cache (window - 1, since the next token brings its own) and of
# 10 in the caller's. So the run's own cache can be continued, but not cut back to a prefix: whoever
# replays from an earlier position needs keys that were dropped, and only the shape tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import torch
from transformers import AutoModelForCausalLM, DynamicCache, MistralConfig

print("transformers", version("transformers"))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(
    MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=4,
    )
).eval()
tokens = torch.arange(10)[None]
with torch.no_grad():
    own = model(tokens, use_cache=True).past_key_values
    given = DynamicCache()
    model(tokens, use_cache=True, past_key_values=given)
kept = [layer.keys.shape[-2] for layer in own.layers]
whole = [layer.keys.shape[-2] for layer in given.layers]
print("the model's own cache: length", own.get_seq_length(), "keys", kept)
print("a DynamicCache() handed in: length", given.get_seq_length(), "keys", whole)
assert own.get_seq_length() == given.get_seq_length() == 10
assert kept == [3, 3]
assert whole == [10, 10]
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
