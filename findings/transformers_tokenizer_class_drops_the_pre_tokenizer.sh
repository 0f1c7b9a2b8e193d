#!/usr/bin/env bash
# transformers 5.23.0: AutoTokenizer reads a folder whose tokenizer_config.json names the class
# GPT2Tokenizer by rebuilding the tokenizer from vocabulary and merges; the pre-tokenizer of tokenizer.json is
# dropped, and texts are cut into other tokens than the model was trained on.
# (Reported as huggingface/transformers#45812.)
#
# Guessed: where tokenizer.json stands it decides, whatever the class is called; SmolLM2 on the hub is such
# a folder (GPT2Tokenizer, with digits cut one by one).
# Seen: with Digits(individual_digits) before ByteLevel in tokenizer.json, "1999" is four tokens by the file
# and one by AutoTokenizer. Decoding gives the text back in both cases, so that no round trip shows it.
# With the class PreTrainedTokenizerFast the same files give the file's tokens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

print("transformers", version("transformers"))
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
pieces = ["19", "99", "1999"]
vocabulary = {piece: number for number, piece in enumerate(["<end>", *letters, *pieces])}
own = Tokenizer(models.BPE(vocabulary, [("1", "9"), ("9", "9"), ("19", "99")]))
own.pre_tokenizer = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
)
own.decoder = decoders.ByteLevel()
own.save("tokenizer.json")
found = {}
for name in ("GPT2Tokenizer", "PreTrainedTokenizerFast"):
    config = {"tokenizer_class": name, "eos_token": "<end>", "unk_token": "<end>"}
    Path("tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = AutoTokenizer.from_pretrained(".")
    found[name] = tokenizer.tokenize("in 1999")
    assert tokenizer.decode(tokenizer.encode("in 1999", add_special_tokens=False)) == "in 1999"
file_tokens = own.encode("in 1999").tokens
print("tokenizer.json", file_tokens)
for name, tokens in found.items():
    print(name, tokens)
assert file_tokens[-4:] == ["1", "9", "9", "9"]
assert found["PreTrainedTokenizerFast"] == file_tokens
assert found["GPT2Tokenizer"][-1] == "1999"
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
