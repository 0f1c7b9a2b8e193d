#!/usr/bin/env bash
# TransformerLens 4.3.0: get_act_patch_attn_head_all_pos_every on a model with grouped queries returns one
# column a query head for keys and values too. There are fewer keys than queries: the columns that are left
# over hold exactly 0.0, as if patching those heads gave a metric of zero.
#
# Guessed: columns without a head are NaN or absent, or a query head's column holds the effect of the
# key that it reads.
# Seen: with 4 query heads on 2 keys, rows for keys and values are [effect of key 0, effect of key 1, 0, 0],
# while the single functions (get_act_patch_attn_head_k_all_pos) give two columns. The metric of a run
# that nothing was patched into is not zero, so that 0.0 reads as the largest effect of all, and
# head 1's column is not that of the key that query head 1 reads, which is key 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0 transformer-lens==4.3.0
cd "$folder"
cat > check.py <<'PYTHON'
import warnings
from importlib.metadata import version

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

warnings.filterwarnings("ignore")
print("transformer_lens", version("transformer-lens"), "transformers", version("transformers"))
words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(50)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
special = {"bos_token": "w1", "eos_token": "w2", "unk_token": "w0", "pad_token": "w3"}
PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained("tokens")
torch.manual_seed(0)
hf = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, architectures=["LlamaForCausalLM"],
    )
).eval()
with torch.no_grad():
    for parameter in hf.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.3)
model = TransformerBridge.boot_transformers(
    "local", hf_model=hf, tokenizer=AutoTokenizer.from_pretrained("tokens"), device="cpu"
)
clean, corrupted = torch.tensor([[1, 4, 5, 6, 7]]), torch.tensor([[1, 9, 5, 6, 7]])
_, cache = model.run_with_cache(clean)


def metric(logits):
    return logits[0, -1, 3] - logits[0, -1, 8]


every = patching.get_act_patch_attn_head_all_pos_every(model, corrupted, cache, metric)
keys = patching.get_act_patch_attn_head_k_all_pos(model, corrupted, cache, metric)
base = float(metric(model(corrupted)))
# The order of what is returned is output, query, key, value, pattern.
print("keys in the cache", tuple(cache["blocks.0.attn.hook_k"].shape), "| metric unpatched", base)
print("keys alone", tuple(keys.shape), keys.tolist())
print("every: keys", every[2].tolist())
print("every: values", every[3].tolist())
assert tuple(keys.shape) == (2, 2) and tuple(every.shape) == (5, 2, 4)
assert torch.equal(every[2, :, :2], keys)
assert abs(base) > 0.01
assert bool((every[2:4, :, 2:] == 0).all())
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py 2> >(grep -v '%|' >&2)
