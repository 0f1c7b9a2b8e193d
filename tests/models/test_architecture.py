"""The modules of any decoder, found in its tree and configuration; and why some are refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.architectures.configurations import DECODERS, OTHERS, Row, configuration
from benchmarks.architectures.measure import build, measure
from counterpoint.errors import UserError
from counterpoint.models.architecture_support import discover
from counterpoint.models.folder_architecture import UNKNOWN, keep_names
from counterpoint.models.load import load_language_model
from counterpoint.models.module_names import BlockNames, ModuleNames
from tests.helpers.tiny_models import (
    ARCHITECTURES,
    make_tiny_model,
    make_tiny_tokenizer,
    save_tiny_model,
)

VERDICTS = ("exact", "refused", "wrong", "traceback", "not built")
NO_ATTENTION = BlockNames(None, None, "feed_forward")


def names_of(row: str) -> ModuleNames:
    """What is found on the meta device, where there are no numbers at all."""
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(configuration(DECODERS[row]))
    return discover(hf)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_modules_are_those_that_transformerlens_names(architecture: str) -> None:
    model = make_tiny_model(architecture)
    mapping = model.bridge().adapter.component_mapping
    parts = mapping["blocks"].submodules
    assert model.names.blocks == mapping["blocks"].name
    assert model.names.embedding == mapping["embed"].name
    expected = BlockNames(parts["attn"].name, parts["attn"].submodules["o"].name, parts["mlp"].name)
    assert model.names.layers == (expected,) * model.n_layers


@pytest.mark.parametrize(
    ("row", "blocks", "layer"),
    [
        ("opt", "model.decoder.layers", BlockNames("self_attn", "out_proj", "fc2")),
        ("bloom", "transformer.h", BlockNames("self_attention", "dense", "mlp.dense_4h_to_h")),
        ("mpt", "transformer.blocks", BlockNames("attn", "out_proj", "ffn.down_proj")),
        ("gpt_neo, local", "transformer.h", BlockNames("attn.attention", "out_proj", "mlp")),
        ("granitemoe", "model.layers", BlockNames("self_attn", "o_proj", "block_sparse_moe")),
        # Two modules are added up: neither is the MLP.
        ("granitemoeshared", "model.layers", BlockNames("self_attn", "o_proj", None)),
        ("moshi", "model.layers", BlockNames("self_attn", "o_proj.linear", "mlp")),
        ("deepseek_v3", "model.layers", BlockNames("self_attn", "o_proj", "mlp")),
        ("modernbert-decoder", "model.layers", BlockNames("attn", "Wo", "mlp")),
    ],
)
def test_blocks_of_other_kinds(row: str, blocks: str, layer: BlockNames) -> None:
    found = names_of(row)
    assert found.blocks == blocks
    assert found.layers == (layer,) * len(found.layers)


def test_layers_without_attention_have_none() -> None:
    assert names_of("jamba").layers == (
        NO_ATTENTION,
        BlockNames("self_attn", "o_proj", "feed_forward"),
        NO_ATTENTION,
    )
    assert names_of("nemotron_h").layers == (
        BlockNames(None, None, None),
        BlockNames("mixer", "o_proj", None),
        BlockNames(None, None, "mixer"),
        BlockNames("mixer", "o_proj", None),
    )
    linear = [layer.attention for layer in names_of("qwen3_next").layers]
    assert linear == [None, "self_attn", None]


def test_of_a_model_that_also_sees_the_text_part_is_found() -> None:
    found = names_of("gemma3, with eyes")
    assert found.blocks == "model.language_model.layers"
    assert found.embedding == "model.language_model.embed_tokens"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("bert", "BertLMHeadModel: .*attention is bidirectional: every position sees later ones"),
        ("bart, decoder alone", "BartForCausalLM: .* has a cross-attention \\(encoder_attn\\)"),
        ("mamba", "MambaForCausalLM: none of its 3 blocks has attention heads"),
        ("rwkv", "none of its 3 blocks has attention heads \\(its layers are Rwkv"),
        ("diffllama", "layers.0.self_attn \\(DiffLlamaAttention\\) is a differential attention"),
        ("jetmoe", "has no output projection, .* \\(it holds experts, kv_proj\\)"),
        ("deepseek_v4", "has no output projection, .*o_a_proj, o_b_proj"),
        ("hrm_text", "its blocks stand in several lists \\(model.L_module.layers"),
        ("longcat_flash", "has 2 attentions \\(self_attn.0, self_attn.1\\)"),
        ("laguna, heads by layer", "differ in their number of heads \\(config.json says 4, .* 2"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_reason(row: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refusal:
        names_of(row)
    assert "GPT-2" not in str(refusal.value)


def llama() -> torch.nn.Module:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(configuration(DECODERS["llama"]))


def test_an_output_projection_that_is_no_plain_linear_map_is_refused() -> None:
    adapted = llama()
    adapted.model.layers[1].self_attn.o_proj.lora_A = torch.nn.Linear(4, 4)
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.o_proj carries a LoRA adapter"):
        discover(adapted)

    quantised = llama()
    projection = quantised.model.layers[2].self_attn.o_proj
    projection.weight = torch.nn.Parameter(projection.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(UserError, match=r"layers\.2\.self_attn\.o_proj is a Linear and keeps its"):
        discover(quantised)

    class Gated(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden).tanh()

    gated = llama()
    gated.model.layers[0].self_attn.o_proj = Gated(32, 32)
    with pytest.raises(UserError, match="is a Gated, of which it is not known that it is linear"):
        discover(gated)


def test_blocks_that_are_one_module_are_refused() -> None:
    shared = llama()
    shared.model.layers[2] = shared.model.layers[0]
    with pytest.raises(UserError, match="are one and the same module, run several times"):
        discover(shared)


def test_heads_that_cannot_share_the_projection_are_refused() -> None:
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(configuration(Row("llama", {})))
    hf.model.layers[0].self_attn.o_proj = torch.nn.Linear(30, 32)
    with pytest.raises(UserError, match="reads 30 values, which 4 heads cannot share equally"):
        discover(hf)


# ----------------------------------------------------------------------------- from a folder alone


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_folder_is_looked_at_without_its_weights(architecture: str, tmp_path: Path) -> None:
    save_tiny_model(architecture, tmp_path)
    loaded = load_language_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "tokenizer.json").unlink()
    assert keep_names(tmp_path) == loaded.names


def test_looking_at_a_folder_does_not_import_transformerlens(tmp_path: Path) -> None:
    save_tiny_model("llama", tmp_path)
    code = (
        "import sys; from counterpoint.models.load import load_language_model;"
        "from counterpoint.models.folder_architecture import keep_names;"
        f"keep_names({str(tmp_path)!r}); load_language_model({str(tmp_path)!r});"
        "print('transformer_lens' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_an_encoder_decoder_is_called_one(name: str, tmp_path: Path) -> None:
    build(OTHERS[name], tmp_path)
    with pytest.raises(UserError, match="is an encoder-decoder"):
        keep_names(tmp_path)


@pytest.mark.parametrize("name", ["ViTForImageClassification", "Wav2Vec2ForCTC"])
def test_what_continues_no_text_is_no_language_model(name: str, tmp_path: Path) -> None:
    build(OTHERS[name], tmp_path)
    with pytest.raises(UserError, match="transformers has no language model of") as refusal:
        keep_names(tmp_path)
    assert "GPT-2" not in str(refusal.value)


@pytest.mark.parametrize("row", ["llava", "qwen2_5_vl", "qwen2_audio"])
def test_the_text_part_of_a_model_that_reads_more_is_measured(row: str, tmp_path: Path) -> None:
    result = measure(row, DECODERS[row], tmp_path, thorough=False)
    assert (result["verdict"], result["mlp_verdict"]) == ("exact", "exact"), result
    with pytest.warns(UserWarning, match="reads more than text; what it does with text"):
        load_language_model(tmp_path)


LLAMA = LlamaConfig(vocab_size=61, hidden_size=32, num_hidden_layers=1).to_dict()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("{", "cannot read its config.json"),
        ("[]", "model_type"),
        ("{}", "config.json names no model_type"),
        ({"model_type": "of tomorrow"}, "'of tomorrow', which transformers .* does not know"),
        ({**LLAMA, "num_attention_heads": 5}, "cannot"),
        ({**LLAMA, "num_attention_heads": 0}, "cannot"),
        ({**LLAMA, "hidden_act": "unheard of"}, "cannot build the model: KeyError"),
        ({**LLAMA, "hidden_size": "wide"}, "cannot"),
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "configuration.Own"}},
            "a model of its own code",
        ),
    ],
)
def test_whatever_a_library_raises_is_the_reason(
    settings: str | dict, reason: str, tmp_path: Path
) -> None:
    text = settings if isinstance(settings, str) else json.dumps(settings)
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    make_tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UNKNOWN, match=reason) as refusal:
        keep_names(tmp_path)
    assert str(tmp_path) in str(refusal.value)


# ------------------------------------------------------------------------------- measured exactly


@pytest.mark.parametrize(
    "name",
    [
        "opt",
        "openai-gpt",
        "falcon, 40B",
        "gpt_bigcode, many keys",
        "phi, query-key norms",
        "bert, as a decoder",
        "granitemoehybrid, dense",
        "phimoe",
    ],
)
def test_rows_of_the_sweep_are_exact(name: str, tmp_path: Path) -> None:
    result = measure(name, DECODERS[name], tmp_path, thorough=False)
    assert (result["verdict"], result["mlp_verdict"]) == ("exact", "exact"), result
    assert {"ap", "f", "g", "ig_joint", "mlp"} <= set(result["errors"])


def test_the_page_says_that_nothing_is_wrong() -> None:
    page = (Path(__file__).parents[2] / "docs/architectures.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    verdicts = Counter(cell for row in rows for cell in row[3:5] if cell in VERDICTS)
    assert sum(verdicts.values()) >= 150
    assert verdicts["exact"] >= 95
    assert set(verdicts) == {"exact", "refused"}
    assert not re.search(r"\| (wrong|traceback)", page)


def test_the_table_holds_each_kind_once() -> None:
    assert len(DECODERS) + len(OTHERS) >= 151
    described = [
        (row.model_type, json.dumps(row.extra, sort_keys=True)) for row in DECODERS.values()
    ]
    assert len(set(described)) == len(described)
