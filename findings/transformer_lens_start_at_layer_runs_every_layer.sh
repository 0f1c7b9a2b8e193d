#!/usr/bin/env bash

# transformer-lens 4.3.0: TransformerBridge(residual, start_at_layer=2) runs every block from the first
# on, so that entering late in a model saves nothing.
#
# Guessed: with start_at_layer the blocks below are skipped, which is what the argument is for where
# the same lower layers would be run again and again (patching, path expansions).
# Seen: in a model of three blocks all three run; the residual given replaces what the lower ones made.
# The logits are right. stop_at_layer=1 does stop: one block runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0 transformer-lens==4.3.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

print("transformer-lens", version("transformer-lens"))
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w2")
torch.manual_seed(0)
configuration = GPT2Config(
    vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=2
)
plain = AutoModelForCausalLM.from_config(configuration).eval()
bridge = TransformerBridge.boot_transformers("tiny", hf_model=plain, tokenizer=tokenizer, device="cpu")
ran = []
for number, block in enumerate(bridge.blocks):
    block.register_forward_hook(lambda module, args, output, number=number: ran.append(number))

tokens = torch.randint(3, 50, (1, 7))
with torch.no_grad():
    logits, cache = bridge.run_with_cache(tokens)
    ran.clear()
    late = bridge(cache["blocks.2.hook_resid_pre"], start_at_layer=2)
    started = list(ran)
    ran.clear()
    bridge.run_with_cache(tokens, stop_at_layer=1)
print("start_at_layer=2 ran blocks", started, "| stop_at_layer=1 ran blocks", ran)
assert torch.allclose(late, logits, atol=1e-5)
assert started == [0, 1, 2]
assert ran == [0]
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
