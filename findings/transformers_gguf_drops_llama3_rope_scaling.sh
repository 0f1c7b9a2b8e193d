#!/usr/bin/env bash
# transformers 5.23.0: importing a GGUF file of a Llama 3.2 (gguf_file=) drops the tensor rope_freqs.weight,
# in which that format keeps the model's rotary scaling; the model is read as if it had none.
#
# Guessed: what the file holds is used, or the import says that it cannot; the loading report lists
# tensors that found no place.
# Seen: rope_type is "default" after the import, no warning names the tensor, and all other weights
# are equal. Every prompt is then run with other positions than the model was trained with: the
# logits of a tiny model differ from the first positions on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 gguf==0.19.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import warnings
from importlib.metadata import version

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

print("transformers", version("transformers"), "gguf", version("gguf"))
layers, heads, size, inner = 2, 4, 16, 48
width = heads * size
scaling = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 10000.0,
}
torch.manual_seed(0)
original = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=60, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=2048,
        rms_norm_eps=1e-6, tie_word_embeddings=True, rope_parameters=scaling,
    )
).eval()
with torch.no_grad():
    for parameter in original.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.2)

writer = gguf.GGUFWriter("model.gguf", "llama")
writer.add_block_count(layers)
writer.add_context_length(2048)
writer.add_embedding_length(width)
writer.add_feed_forward_length(inner)
writer.add_head_count(heads)
writer.add_head_count_kv(heads)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_freq_base(10000.0)
writer.add_rope_dimension_count(size)
writer.add_vocab_size(60)
state = {name: tensor.numpy() for name, tensor in original.state_dict().items()}
# The factor by which each frequency is divided, as this scaling has it.
plain = 1 / 10000.0 ** (np.arange(0, size, 2) / size)
factors = plain / original.model.rotary_emb.inv_freq.numpy()
writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
writer.add_tensor("output_norm.weight", state["model.norm.weight"])
names = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
for layer in range(layers):
    for short, long in names.items():
        weight = state[f"model.layers.{layer}.{long}.weight"]
        if short in ("attn_q", "attn_k"):  # the format interleaves the two halves of each head
            weight = weight.reshape(heads, 2, -1, width).swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(f"blk.{layer}.{short}.weight", np.ascontiguousarray(weight))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    imported, report = AutoModelForCausalLM.from_pretrained(
        ".", gguf_file="model.gguf", dtype=torch.float32, output_loading_info=True
    )
rope = imported.config.rope_parameters
print("factors in the file", factors.round(2).tolist())
print("rope after the import", rope)
print("unexpected", list(report["unexpected_keys"]), "missing", list(report["missing_keys"]))
assert factors.max() > 2
assert rope["rope_type"] == "default"
assert not any("rope" in str(one.message) for one in said)
assert not any("rope" in str(key) for key in report["unexpected_keys"])
same = all(torch.equal(imported.state_dict()[name], original.state_dict()[name]) for name in state)
tokens = torch.arange(3, 43)[None]
with torch.no_grad():
    difference = (imported.eval()(tokens).logits - original(tokens).logits).abs().amax(-1)[0]
print("weights equal", same, "| logits differ at position 1, 5, 39 by", difference[[1, 5, 39]].tolist())
assert same
assert difference[39] > 0.01
PYTHON
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/env/bin/python" check.py
