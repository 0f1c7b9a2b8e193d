#!/usr/bin/env bash
# TransformerLens 4.3.0: SUPPORTED_ARCHITECTURES holds FalconForCausalLM, GPTBigCodeForCausalLM and
# GPTNeoXForCausalLM, but only for one layout of each. Falcon as in the 40B (two norms, grouped keys) and in
# the 11B (one norm, grouped keys), BigCode with as many keys as queries, and NeoX without attention
# biases cannot be wrapped.
#
# Guessed: an architecture that is listed is supported in every layout that transformers has for
# its class, or the refusal says which layout is not.
# Seen: a RuntimeError about split sizes, an AttributeError about a norm, an AssertionError without a word
# (NeoX) and one that says it (BigCode), raised while the weights are wrapped. Falcon as in the 7B works
# and equals the plain model.
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
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

warnings.filterwarnings("ignore")
print("transformer_lens", version("transformer-lens"), "transformers", version("transformers"))
words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(50)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
special = {"bos_token": "w1", "eos_token": "w2", "unk_token": "w0", "pad_token": "w3"}
PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained("tokens")
size = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
large = {**size, "alibi": False, "new_decoder_architecture": True, "num_kv_heads": 2}
layouts = [
    ("Falcon as in the 7B", "falcon", {**size, "alibi": False, "multi_query": True}, None),
    ("Falcon as in the 40B", "falcon", large, RuntimeError),
    ("Falcon as in the 11B", "falcon", {**large, "num_ln_in_parallel_attn": 1}, AttributeError),
    (
        "BigCode with many keys",
        "gpt_bigcode",
        {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "multi_query": False},
        AssertionError,
    ),
    (
        "NeoX without biases",
        "gpt_neox",
        {**size, "intermediate_size": 48, "attention_bias": False},
        AssertionError,
    ),
]
tokens = torch.arange(4, 12)[None]
for name, kind, settings, expected in layouts:
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    hf.config.architectures = [type(hf).__name__]
    assert type(hf).__name__ in SUPPORTED_ARCHITECTURES
    with torch.no_grad():
        plain = hf(tokens).logits
    raised, difference = None, None
    try:
        bridge = TransformerBridge.boot_transformers(
            "local", hf_model=hf, tokenizer=AutoTokenizer.from_pretrained("tokens"), device="cpu"
        )
        with torch.no_grad():
            difference = float((bridge(tokens) - plain).abs().max())
    except Exception as error:
        raised = error
    said = "" if raised is None else f"{type(raised).__name__}: {str(raised)[:90]}"
    print(f"{name}: listed; {said or f'wrapped, logits differ by {difference:.0e}'}")
    assert type(raised) is (type(None) if expected is None else expected)
    assert expected is not None or difference < 1e-4
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
