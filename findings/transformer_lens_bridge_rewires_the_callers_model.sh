#!/usr/bin/env bash

# transformer-lens 4.3.0: boot_transformers(hf_model=) makes its bridge out of the very modules of the
# model that it is given, which is another model afterwards.
#
# Guessed: the bridge holds the caller's model, or shares its weights, and leaves it as it was, so that
# a notebook can go on with it: train it, save it, hand it to a second tool.
# Seen, of a small Llama: its attention is "eager" where it was "sdpa"; state_dict() has 68 keys where it
# had 21, none of them the same: a state_dict that was kept
# before no longer loads; save_pretrained raises a RuntimeError (tensors under several names). The logits
# stay, so nothing tells. Deleting the bridge does not bring the model back.
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
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

print("transformer-lens", version("transformer-lens"))
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w2")
torch.manual_seed(0)
configuration = LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=64,
)
plain = LlamaForCausalLM(configuration).eval()
tokens = torch.tensor([[1, 7, 9, 11, 3]])
kept = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
attention = plain.config._attn_implementation
with torch.no_grad():
    logits = plain(tokens).logits

bridge = TransformerBridge.boot_transformers("tiny", hf_model=plain, tokenizer=tokenizer, device="cpu")
del bridge

with torch.no_grad():
    print("logits differ by", float((plain(tokens).logits - logits).abs().max()))
print("attention", attention, "->", plain.config._attn_implementation)
assert (attention, plain.config._attn_implementation) == ("sdpa", "eager")
now = plain.state_dict()
print("state_dict", len(kept), "->", len(now), "keys; left of the old ones:", sorted(kept.keys() & now.keys()))
assert len(kept) == 21 and len(now) > 3 * len(kept) and not kept.keys() & now.keys()
try:
    plain.load_state_dict(kept)
except RuntimeError as error:
    print("load_state_dict:", str(error).splitlines()[0][:70])
else:
    raise AssertionError("the old state_dict loads now")
try:
    plain.save_pretrained("saved")
except RuntimeError as error:
    print("save_pretrained: RuntimeError:", str(error)[:70], "...")
else:
    raise AssertionError("the model can be saved now")
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
