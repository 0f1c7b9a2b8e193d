#!/usr/bin/env bash

# nnsight 0.8.1 with transformers 5.23.0: block.output[0], by which notebooks take a block's hidden
# states, is the first prompt of the batch alone, and writing to it changes the first prompt alone.
#
# Guessed: model.transformer.h[1].output[0] has the shape [prompt, position, d_model], since a block
# returned a tuple of which the first entry held the hidden states; that is how nnsight tutorials
# read and ablate a layer.
# Seen: in transformers 5 a block returns the tensor itself, so that [0] takes the first prompt:
# [position, d_model]. Setting output[0][:] = 0 ablates the layer for the first prompt of three and
# leaves the other two as they were; nothing raises. The same holds for GPT-2 and Llama. Attention
# modules still return tuples, where [0] is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0 nnsight==0.8.1
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import torch
from nnsight import LanguageModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

print("nnsight", version("nnsight"), "transformers", version("transformers"))
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w2", pad_token="w2")
ends = {"bos_token_id": 1, "eos_token_id": 2}
configurations = {
    "GPT-2": GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=64, **ends),
    "Llama": LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, **ends,
    ),
}
for name, configuration in configurations.items():
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(configuration).eval()
    tokens = torch.randint(3, 50, (3, 7))
    with torch.no_grad():
        before = plain(tokens).logits
    model = LanguageModel(plain, tokenizer=tokenizer)
    blocks = model.transformer.h if name == "GPT-2" else model.model.layers
    with torch.no_grad(), model.trace(tokens):
        taken = blocks[1].output[0].save()
        blocks[1].output[0][:] = 0
        after = model.lm_head.output.save()
    changed = (after - before).abs().amax((1, 2)) > 1e-6
    print(name, "output[0]", tuple(taken.shape), "of 3 prompts changed", changed.tolist())
    assert tuple(taken.shape) == (7, 32)
    assert changed.tolist() == [True, False, False]
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
