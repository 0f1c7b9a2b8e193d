#!/usr/bin/env bash

# transformers 5.23.0: a Llama in float64 is as exact as a float32 one, since its norms and its attention's
# softmax are computed in float32 whatever the model's dtype.
#
# Guessed: dtype=torch.float64 gives results good to about 1e-15 of their size, so that small effects can
# be told from rounding.
# Seen: against the same model with these two operations in float64, logits of size 4 of a random Llama of
# four layers differ by 1.2e-6, which is what float32 gives; their dtype is float64.
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
from transformers.models.llama import modeling_llama

print("transformers", version("transformers"))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(
    LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
    ),
    attn_implementation="eager",
).double().eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.25)
tokens = torch.randint(3, 50, (1, 9))


def norm(self, hidden):
    size = hidden.pow(2).mean(-1, keepdim=True)
    return self.weight * hidden * torch.rsqrt(size + self.variance_epsilon)


softmax = torch.nn.functional.softmax
with torch.no_grad():
    as_it_is = model(tokens).logits
    modeling_llama.LlamaRMSNorm.forward = norm
    torch.nn.functional.softmax = lambda x, dim=None, dtype=None, **_: softmax(x, dim=dim)
    true = model(tokens).logits
    torch.nn.functional.softmax = softmax
error = (as_it_is - true).abs().max().item()
print("dtype of the logits", as_it_is.dtype, "largest error", error, "largest logit", true.abs().max().item())
assert as_it_is.dtype == torch.float64
assert 1e-8 < error < 1e-4
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
