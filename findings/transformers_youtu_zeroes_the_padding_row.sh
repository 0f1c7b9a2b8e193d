#!/usr/bin/env bash
# transformers 5.23.0: from_pretrained of a Youtu sets the embedding of the padding token to zero after
# the weights are loaded, whatever the file holds.
#
# Guessed: every tensor of a loaded model is the file's, since the loading report names none as missing.
# Seen: the row of pad_token_id is zero, all others are the file's; the same model as a Llama keeps it. Where
# that token also begins or ends sequences, every prompt is read with another first token, and with tied
# weights its logit is 0. The initialiser writes to `weight.data`, which the guard for loaded weights does
# not cover.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
cat > check.py <<'PYTHON'
from importlib.metadata import version

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

print("transformers", version("transformers"))
sizes = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 1, "bos_token_id": 1,
}
latent = {
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
}
tokens = torch.tensor([[1, 7, 9, 30, 8]])
changed = {}
for kind, further in (("llama", {}), ("youtu", latent)):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **further)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
    model.save_pretrained(kind)
    loaded, report = AutoModelForCausalLM.from_pretrained(kind, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    stored = load_file(f"{kind}/model.safetensors")["model.embed_tokens.weight"]
    rows = (loaded.model.embed_tokens.weight != stored).any(1).nonzero().flatten().tolist()
    with torch.no_grad():
        difference = (loaded.eval()(tokens).logits - model(tokens).logits).abs().max().item()
    print(kind, "rows of the embedding that are not the file's", rows, "logits differ by", difference)
    changed[kind] = rows
    assert (difference > 0.01) == bool(rows)
assert changed == {"llama": [], "youtu": [1]}
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
