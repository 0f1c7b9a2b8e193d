#!/usr/bin/env bash
# transformers 5.23.0: with rope_type "dynamic" a model's answer to a prompt depends on the prompts that it
# has seen before: after a longer one, a shorter one gets the longer one's angles.
#
# Guessed: a forward pass without a cache is a function of its tokens.
# Seen: a Llama with max_position_embeddings 6 answers a prompt of 9 tokens otherwise after one of 20
# tokens, by far more than rounding, since the angles are only ever recomputed for a longer prompt; a prompt
# shorter than 6 resets them. A clean and a corrupted prompt that are run in another order give
# other numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

print("transformers", version("transformers"))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(
    LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=6,
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    )
).eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.25)
short, middle, long = (torch.randint(3, 50, (1, length)) for length in (3, 9, 20))
with torch.no_grad():
    first = model(middle, use_cache=False).logits
    again = model(middle, use_cache=False).logits
    model(long, use_cache=False)
    after_long = model(middle, use_cache=False).logits
    model(short, use_cache=False)
    after_short = model(middle, use_cache=False).logits
changes = [(other - first).abs().max().item() for other in (again, after_long, after_short)]
print("largest change of a logit: asked again %.1e, after 20 tokens %.1e, after 3 more %.1e" % tuple(changes))
assert changes[0] < 1e-6
assert changes[1] > 1e-2
assert changes[2] < 1e-6
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
