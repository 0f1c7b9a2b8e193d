#!/usr/bin/env bash

# transformer-lens 4.3.0: boot_transformers(hf_model=, tokenizer=) sets bos_token (to the eos token) and
# pad_token in the tokenizer object that it is given; and a tokenizer in memory that has a bos token
# of its own cannot be given at all.
#
# Guessed: the model and the tokenizer of the caller are read, not changed; a tokenizer that was not
# loaded from a folder serves like any other.
# Seen: a tokenizer without bos and pad has bos_token = pad_token = its eos token afterwards. The
# caller's next encode that puts bos in front where there is one (or a second tool that does) gives
# other tokens than before. With a bos token set, KeyError: 'name_or_path' is raised.
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


def boot(**special):
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w2", **special)
    before = tokenizer.bos_token, tokenizer.pad_token
    configuration = GPT2Config(
        vocab_size=50, n_embd=32, n_layer=1, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=2
    )
    plain = AutoModelForCausalLM.from_config(configuration).eval()
    TransformerBridge.boot_transformers("tiny", hf_model=plain, tokenizer=tokenizer, device="cpu")
    return before, (tokenizer.bos_token, tokenizer.pad_token)


before, after = boot()
print("bos and pad before", before, "after", after)
assert before == (None, None)
assert after == ("w2", "w2")
try:
    boot(bos_token="w1")
except KeyError as error:
    print("with a bos token of its own: KeyError", error)
    assert error.args == ("name_or_path",)
else:
    raise AssertionError("a tokenizer with a bos token is taken now")
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
