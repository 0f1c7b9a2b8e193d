"""What is loaded is what the file says: checkpoints that lack, rename or hide something.

Each case is a tiny model whose files are changed after it was saved. What must work loads tensor by
tensor as it was saved; what must not is refused, with the cause, when it is fetched and when it is
loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from counterpoint.errors import UserError
from counterpoint.models.checkpoint import load_checkpoint
from counterpoint.models.declared_model_kind import ADAPTER_WEIGHTS
from counterpoint.models.fetch import fetch_model
from counterpoint.models.load import load_language_model
from counterpoint.models.sources.local import local_files
from counterpoint.models.weight_files import INDEX
from tests.helpers.tiny_models import ARCHITECTURES, make_tiny_tokenizer

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], Tensors]

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
FREQUENCIES = "model.layers.0.self_attn.rotary_emb.inv_freq"
QUERY = "model.layers.0.self_attn.q_proj.weight"

SPARSE = {"num_experts_per_tok": 2, "num_local_experts": 4}


@cache
def _saved(kind: str) -> tuple[Tensors, dict[str, Any]]:
    """The tensors and the configuration of a random model, as they were before saving."""
    torch.manual_seed(0)
    if kind in ARCHITECTURES:
        config = ARCHITECTURES[kind]
    else:
        settings = {**ARCHITECTURES["llama"].to_dict(), **SPARSE}
        settings.pop("model_type")
        config = AutoConfig.for_model(kind, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return {name: one.clone() for name, one in model.state_dict().items()}, config.to_dict()


class Case:
    """A model's folder that was changed, with what it held before."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.original = folder, _saved(kind)[0]
        torch.manual_seed(0)
        config = AutoConfig.for_model(**_saved(kind)[1])
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(self.original)
        model.save_pretrained(folder)
        make_tiny_tokenizer().save_pretrained(folder)

    def tensors(self, change: Change, *, shards: int = 1, index: Any = None) -> Case:
        whole = self.folder / "model.safetensors"
        changed = change(load_file(whole))
        whole.unlink()
        names = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)]
        where = {}
        for number, name in enumerate(names):
            part = {key: changed[key] for key in sorted(changed)[number::shards]}
            save_file(part, whole if shards == 1 else self.folder / name, {"format": "pt"})
            where |= dict.fromkeys(part, name)
        if shards > 1:
            listed = {"metadata": {}, "weight_map": index(where) if index else where}
            (self.folder / "model.safetensors.index.json").write_text(json.dumps(listed))
        return self

    def config(self, **changes: Any) -> Case:
        return self.json("config.json", **changes)

    def json(self, name: str, **changes: Any) -> Case:
        path = self.folder / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | changes))
        return self

    def fetched(self) -> dict[str, Any]:
        given = {"source": "local", "path": str(self.folder)}
        return fetch_model(given, self.folder.parent / "fetched")

    def works(self) -> list[str]:
        """Fetch and load it; every tensor must be the original one. Returns the remarks."""
        remarks: list[str] = self.fetched()["remarks"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hf = load_language_model(self.folder.parent / "fetched").hf
        for name, tensor in hf.state_dict().items():
            torch.testing.assert_close(tensor, self.original[name], rtol=0, atol=0, msg=name)
        return remarks

    def refused(self) -> str:
        """The message, the same whether it is fetched or loaded; nothing is left behind."""
        with pytest.raises(UserError) as fetching:
            self.fetched()
        assert [path.name for path in self.folder.parent.iterdir()] == [self.folder.name]
        with pytest.raises(UserError) as loading:
            load_language_model(self.folder)
        assert str(fetching.value) == str(loading.value)
        assert str(self.folder) in str(fetching.value)
        return str(fetching.value)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Case]:
    def make_case(kind: str = "llama") -> Case:
        return Case(tmp_path / "mine", kind)

    return make_case


def without(*parts: str) -> Change:
    return lambda t: {name: one for name, one in t.items() if not any(p in name for p in parts)}


def renamed(change: Callable[[str], str]) -> Change:
    return lambda t: {change(name): one for name, one in t.items()}


def numbered(other: dict[int, int], part: str = "") -> Change:
    """Experts get other numbers, in the layers whose names have ``part``."""

    def change(name: str) -> str:
        for old, new in other.items():
            if part in name:
                name = name.replace(f"experts.{old}.", f"experts.{new}.")
        return name

    return renamed(change)


def _stacked(tensors: Tensors) -> Tensors:
    """A tensor of all experts beside those of each, with other numbers."""
    name = next(name for name in _saved("mixtral")[0] if name.endswith("experts.gate_up_proj"))
    return {name: _saved("mixtral")[0][name] + 1}


# ------------------------------------------------------------------------------- what must work


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param("gpt2", renamed(lambda n: n.removeprefix("transformer.")), id="gpt2 bare"),
        pytest.param("llama", renamed(lambda n: n.removeprefix("model.")), id="llama bare"),
        pytest.param("gemma2", without(HEAD), id="tied, one stored"),
        pytest.param("gemma2", lambda t: {**t, HEAD: t[EMBEDDING].clone()}, id="tied, both stored"),
        pytest.param(
            "gemma2", renamed(lambda n: HEAD if n == EMBEDDING else n), id="tied, the other stored"
        ),
        pytest.param(
            "gpt2",
            lambda t: {
                **t,
                "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.uint8),
                "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
            },
            id="causal masks",
        ),
        pytest.param(
            "llama",
            lambda t: {**t, FREQUENCIES: 10000 ** (-torch.arange(0, 8, 2) / 8).half()},
            id="rotary buffers",
        ),
        pytest.param("mixtral", lambda t: t, id="experts are stacked when loaded"),
        pytest.param(
            "mixtral", lambda _: {**_saved("mixtral")[0]}, id="experts that are stacked already"
        ),
        pytest.param(
            "llama", lambda t: {**t, QUERY[6:]: t[QUERY].clone()}, id="one under two names"
        ),
        pytest.param("llama", lambda t: {n: one.double() for n, one in t.items()}, id="float64"),
    ],
)
def test_other_ways_to_write_the_same_model(
    make: Callable[[str], Case], kind: str, change: Change
) -> None:
    assert make(kind).tensors(change).works() == []


def _and_the_head(where: dict[str, str]) -> dict[str, str]:
    return where | {HEAD: next(iter(where.values()))}


def test_shards_and_an_index_that_names_more_than_they_hold(make: Callable[[str], Case]) -> None:
    assert make("gemma2").tensors(without(HEAD), shards=2, index=_and_the_head).works() == []


def test_an_embedding_that_config_json_ties(make: Callable[[str], Case]) -> None:
    case = make("llama").tensors(without(HEAD)).config(tie_word_embeddings=True)
    case.original = {**case.original, HEAD: case.original[EMBEDDING]}
    assert case.works() == []


def test_parts_that_are_not_read_are_named(make: Callable[[str], Case]) -> None:
    eye = {"vision_tower.encoder.weight": torch.ones(2, 2)}
    (remark,) = make("llama").tensors(lambda t: {**t, **eye}).works()
    assert "vision_tower.encoder.weight" in remark
    assert "text" in remark


@pytest.mark.parametrize("kind", ["qwen3_5", "llama4", "gemma3"])
def test_the_text_part_of_a_model_that_reads_images(kind: str, tmp_path: Path) -> None:
    """Its logits are those of the whole model; what is not loaded is said."""
    settings = ARCHITECTURES["llama"].to_dict()
    text = {key: value for key, value in settings.items() if key != "model_type"}
    text |= {"num_hidden_layers": 4}
    eye = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "depth": 1}
    eye |= {"num_attention_heads": 2, "num_heads": 2, "out_hidden_size": 32, "image_size": 28}
    eye |= {"patch_size": 14}
    eye |= dict.fromkeys(["vision_output_dim", "projector_input_dim", "projector_output_dim"], 16)
    config = AutoConfig.for_model(kind, text_config=text | SPARSE, vision_config=eye)
    torch.manual_seed(0)
    whole = AutoModelForImageTextToText.from_config(config, attn_implementation="eager").eval()
    whole.save_pretrained(tmp_path / "mine")
    make_tiny_tokenizer().save_pretrained(tmp_path / "mine")
    given = {"source": "local", "path": str(tmp_path / "mine")}
    remarks = fetch_model(given, tmp_path / "fetched")["remarks"]
    assert any("vis" in remark for remark in remarks) == (kind != "gemma3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = load_checkpoint(tmp_path / "fetched", torch.float32).eval()
    ids = torch.tensor([[1, 7, 9, 30, 8, 11]])
    with torch.no_grad():
        torch.testing.assert_close(part(ids).logits, whole(input_ids=ids).logits, rtol=0, atol=0)


def test_where_the_whole_needs_what_is_not_installed_the_text_part_is_taken(
    tmp_path: Path,
) -> None:
    # Gemma 3n's eyes are built by timm; its makers save the text part within the whole.
    text = {**ARCHITECTURES["llama"].to_dict(), "num_hidden_layers": 2, "num_kv_shared_layers": 0}
    text |= {"vocab_size_per_layer_input": 61, "hidden_size_per_layer_input": 8, "laurel_rank": 4}
    text |= {"activation_sparsity_pattern": None, "layer_types": ["sliding_attention"] * 2}
    for name in ("model_type", "rope_parameters"):
        text.pop(name)
    config = AutoConfig.for_model("gemma3n", text_config=text)
    torch.manual_seed(0)
    part = AutoModelForCausalLM.from_config(config.text_config, dtype=torch.float32)
    folder = tmp_path / "mine"
    part.save_pretrained(folder)
    tensors = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(
        {**tensors, "model.vision_tower.timm_model.conv_stem.weight": torch.ones(2, 2)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    config.architectures = ["Gemma3nForConditionalGeneration"]
    config.save_pretrained(folder)
    make_tiny_tokenizer().save_pretrained(folder)
    given = {"source": "local", "path": str(folder)}
    remarks = fetch_model(given, tmp_path / "fetched")["remarks"]
    assert any("model.vision_tower" in remark for remark in remarks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_checkpoint(tmp_path / "fetched", torch.float32).state_dict()
    for name, tensor in part.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0, msg=name)
    del tensors["model.language_model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not in the checkpoint \(model.layers.1.self_attn.q_proj"):
        fetch_model(given, tmp_path / "fetched")


def test_the_decoder_of_an_encoder_decoder_saved_alone(tmp_path: Path) -> None:
    sizes = {
        "d_model": 32,
        "decoder_layers": 1,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
    }
    config = AutoConfig.for_model("bart", vocab_size=61, max_position_embeddings=64, **sizes)
    decoder = AutoModelForCausalLM.from_config(config)
    decoder.save_pretrained(tmp_path / "mine")
    make_tiny_tokenizer().save_pretrained(tmp_path / "mine")
    fetch_model({"source": "local", "path": str(tmp_path / "mine")}, tmp_path / "fetched")
    loaded = load_checkpoint(tmp_path / "fetched", torch.float32).state_dict()
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("names", "metadata"),
    [
        (("layers-0.safetensors", "outside.safetensors"), {"metadata": {"total_size": 1}}),
        (("pytorch_model-1-of-2.safetensors", "pytorch_model-2-of-2.safetensors"), {}),
        (("one/model.safetensors", "two/model.safetensors"), {"metadata": None}),
    ],
)
def test_an_index_may_name_its_files_as_it_likes(
    make: Callable[[str], Case], names: tuple[str, str], metadata: dict[str, Any]
) -> None:
    case = make("llama").tensors(lambda t: t, shards=2)
    index = case.folder / INDEX
    where = json.loads(index.read_text())["weight_map"]
    for old, new in zip(sorted(set(where.values())), names, strict=True):
        (case.folder / new).parent.mkdir(exist_ok=True)
        (case.folder / old).rename(case.folder / new)
        where = {name: new if file == old else file for name, file in where.items()}
    index.write_text(json.dumps({**metadata, "weight_map": where}))
    watched = local_files({"source": "local", "path": str(case.folder)})
    assert {case.folder / name for name in names} <= set(watched)
    assert case.works() == []


@pytest.mark.parametrize(
    "index", [[], {}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": 3}}]
)
def test_an_index_that_is_none(make: Callable[[str], Case], index: Any) -> None:
    case = make("llama").tensors(lambda t: t, shards=2)
    (case.folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=f"{INDEX} is damaged"):
        case.fetched()
    (case.folder / INDEX).unlink()
    with pytest.raises(UserError, match=f"model-00001-of-00002.safetensors stands .* {INDEX}"):
        case.fetched()


def test_a_file_that_is_named_is_the_model(make: Callable[[str], Case]) -> None:
    """And not the one that is called model.safetensors beside it."""
    case = make("llama")
    tensors = load_file(case.folder / "model.safetensors")
    other = {name: one + 1 for name, one in tensors.items()}
    best = case.folder / "best.safetensors"
    save_file(other, best, {"format": "pt"})
    given = {"source": "local", "path": str(best)}
    assert {best, case.folder / "config.json"} <= set(local_files(given))
    target = case.folder.parent / "fetched"
    fetch_model(given, target)
    loaded = load_language_model(target).hf.state_dict()
    assert all(torch.equal(loaded[name], one) for name, one in other.items())
    save_file({QUERY: other[QUERY]}, best, {"format": "pt"})
    with pytest.raises(UserError, match="are not in the checkpoint"):
        fetch_model(given, target)
    fetch_model({"source": "local", "path": str(case.folder / "model.safetensors")}, target)
    loaded = load_language_model(target).hf.state_dict()
    assert all(torch.equal(loaded[name], one) for name, one in tensors.items())


def test_a_file_that_config_json_names_is_the_model(make: Callable[[str], Case]) -> None:
    case = make("llama").config(transformers_weights="other.safetensors")
    whole = case.folder / "model.safetensors"
    save_file(load_file(whole), case.folder / "other.safetensors", {"format": "pt"})
    save_file({name: one * 2 for name, one in load_file(whole).items()}, whole, {"format": "pt"})
    assert case.works() == []
    case.config(transformers_weights="../other.safetensors")
    with pytest.raises(UserError, match="transformers_weights"):
        case.fetched()


def test_a_whole_file_and_an_index(make: Callable[[str], Case]) -> None:
    """Of the same numbers, or nobody knows which of them is meant."""
    case = make("llama")
    tensors = load_file(case.folder / "model.safetensors")
    case.tensors(lambda t: t, shards=2)
    save_file(tensors, case.folder / "model.safetensors", {"format": "pt"})
    assert case.works() == []
    shutil.rmtree(case.folder.parent / "fetched")
    changed = {**tensors, QUERY: tensors[QUERY] + 1}
    save_file(changed, case.folder / "model.safetensors", {"format": "pt"})
    message = case.refused()
    assert QUERY in message
    assert INDEX in message


def test_other_rotary_frequencies_are_said(make: Callable[[str], Case]) -> None:
    (remark,) = make("llama").tensors(lambda t: {**t, FREQUENCIES: torch.ones(4)}).works()
    assert FREQUENCIES in remark
    assert "rope_parameters" in remark


def test_the_padding_token_keeps_its_embedding(make: Callable[[str], Case]) -> None:
    """transformers 5.23 sets it to zero in a loaded Youtu, where it may begin every prompt, too."""
    case = make("youtu").tensors(lambda t: {**t, EMBEDDING: t[EMBEDDING] + 1})
    case.original = {**case.original, EMBEDDING: case.original[EMBEDDING] + 1}
    assert case.works() == []


def test_what_is_tied_but_stored_twice_differently_is_said(make: Callable[[str], Case]) -> None:
    case = make("gemma2").tensors(lambda t: {**t, HEAD: t[EMBEDDING] + 1})
    case.original = {**case.original, HEAD: case.original[EMBEDDING] + 1}
    (remark,) = case.works()
    assert HEAD in remark
    assert EMBEDDING in remark


# ---------------------------------------------------------------------------- what must not pass


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("llama", without(HEAD), [HEAD, "1 is not", "unembedding", "tie_word_embeddings"]),
        ("llama", without("layers.1.mlp.down"), ["layers.1.mlp.down_proj.weight", "lacking"]),
        ("gemma2", without(HEAD, EMBEDDING), [EMBEDDING, "2 are not"]),
        ("llama", renamed("_orig_mod.{}".format), ["_orig_mod.model", "torch.compile"]),
        ("gpt2", renamed("_orig_mod.{}".format), ["_orig_mod.transformer", "torch.compile"]),
        (
            "llama",
            renamed(lambda n: n.replace("layers.0.", "layers.0._orig_mod.")),
            ["layers.0._orig_mod", "torch.compile"],
        ),
        ("llama", renamed("module.{}".format), ["module.lm_head", "DataParallel"]),
        ("llama", renamed("_fsdp_wrapped_module.{}".format), ["FullyShardedDataParallel"]),
        ("llama", renamed("base_model.model.{}".format), ["base_model.model.", "peft"]),
        ("llama", renamed("policy.lm.{}".format), ["begin with `policy.lm.`"]),
        (
            "llama",
            lambda t: {**t, QUERY.replace("q_proj", "q_proj.lora_A.default"): torch.ones(4, 32)},
            ["lora_A", "merge_and_unload"],
        ),
        (
            "llama",
            lambda t: without(QUERY)(t) | {QUERY.replace(".weight", ".qweight"): torch.ones(4, 4)},
            [QUERY, "qweight", "quantised"],
        ),
        ("llama", lambda t: {**t, QUERY: t[QUERY].to(torch.int8)}, [QUERY, "I8", "quantised"]),
        (
            "gpt2",
            lambda t: {
                name.removeprefix("transformer."): one.to(torch.int8) if "c_fc.w" in name else one
                for name, one in t.items()
            },
            ["h.0.mlp.c_fc.weight", "I8", "quantised"],
        ),
        ("llama", without("layers.2."), ["num_hidden_layers", "says 3 layers", "holds 2"]),
        (
            "llama",
            lambda t: t | {n.replace("s.2.", "s.3."): v.clone() for n, v in t.items()},
            ["says 3 layers", "holds 4"],
        ),
        ("llama", lambda t: {**t, "v_head.weight": torch.ones(1, 32)}, ["v_head", "no place"]),
        (
            "llama",
            lambda t: {**t, QUERY.replace("weight", "bias"): torch.ones(32)},
            ["q_proj.bias", "no place"],
        ),
        ("mixtral", without("experts.1"), ["experts", "missing|another shape|lacking"]),
        ("mixtral", numbered({1: 5}), ["experts", "numbered 0, 2, 3, 5", "expected 0 to 3"]),
        ("mixtral", numbered({1: 5}, "layers.1."), ["layers.1.", "numbered 0, 2, 3, 5"]),
        ("mixtral", lambda t: t | _stacked(t), ["experts.gate_up_proj", "different numbers"]),
        ("llama", lambda t: {**t, QUERY[6:]: t[QUERY] + 1}, [QUERY, QUERY[6:], "all meant for"]),
        (
            "gpt2",
            lambda t: {**t, "wte.weight": t["transformer.wte.weight"] + 1},
            ["transformer.wte.weight, wte.weight are all meant"],
        ),
        (
            "gpt_oss",
            lambda t: {n: one.to(torch.int8) if "sinks" in n else one for n, one in t.items()},
            ["self_attn.sinks", "I8", "quantised"],
        ),
        (
            "gpt_neox",
            lambda t: {**t, "gpt_neox.layers.0.attention.bias": torch.ones(32)},
            ["gpt_neox.layers.0.attention.bias", "no place"],
        ),
        *(
            ("llama", lambda t, a=a: {**t, f"{QUERY[:-6]}{a}": torch.ones(4, 4)}, [a, "adapter"])
            for a in ("hada_w1_a", "ia3_l.default", "lokr_w1.default", "oft_R.default.weight")
        ),
    ],
)
def test_checkpoints_that_are_not_the_model(
    make: Callable[[str], Case], kind: str, change: Change, expected: list[str]
) -> None:
    message = make(kind).tensors(change).refused()
    for words in expected:
        assert any(word in message for word in words.split("|")), message


def test_a_tensor_that_the_index_promises_and_no_shard_has(make: Callable[[str], Case]) -> None:
    message = make("llama").tensors(without(HEAD), shards=2, index=_and_the_head).refused()
    assert HEAD in message


def test_a_shard_that_the_index_does_not_name(make: Callable[[str], Case]) -> None:
    def half(where: dict[str, str]) -> dict[str, str]:
        return {name: file for name, file in where.items() if "00001" in file}

    message = make("llama").tensors(lambda t: t, shards=2, index=half).refused()
    assert "incomplete" in message


def test_two_shards_with_different_numbers_for_one_tensor(make: Callable[[str], Case]) -> None:
    case = make("llama").tensors(lambda t: t, shards=2)
    first, second = sorted(case.folder.glob("model-*.safetensors"))
    tensors = load_file(second)
    name = next(iter(load_file(first)))
    save_file({**tensors, name: load_file(first)[name]}, second, {"format": "pt"})
    case.works()
    shutil.rmtree(case.folder.parent / "fetched")
    save_file({**tensors, name: load_file(first)[name] + 1}, second, {"format": "pt"})
    message = case.refused()
    assert name in message
    assert first.name in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vocab_size": 70}, ["vocab_size: 70, where the weights have 61", "[61, 32]", "[70, 32]"]),
        ({"intermediate_size": 50}, ["intermediate_size: 50, where the weights have 48"]),
        ({"attention_bias": True}, ["q_proj.bias", "random"]),
        ({"model_type": "gpt_neox"}, ["another architecture", "gpt_neox"]),
        ({"model_type": "lama"}, ["'lama'", "misspelt"]),
        ({"num_key_value_heads": 4}, ["k_proj.weight", "[16, 32]", "[32, 32]", "another size"]),
        ({"head_dim": 16}, ["q_proj.weight", "[32, 32]", "[64, 32]"]),
        ({"model_type": "t5"}, ["encoder-decoder"]),
        ({"model_type": "bart"}, ["encoder-decoder"]),
        ({"model_type": "vit"}, ["no language model", "vit"]),
        ({"num_attention_heads": "four"}, ["num_attention_heads", "config.json"]),
        ({"hidden_act": "nothing"}, ["nothing", "config.json"]),
        ({"hidden_size": -32}, ["config.json"]),
        ({"pad_token_id": 99}, ["Padding_idx", "config.json"]),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            ["quantised", "bitsandbytes", "dequantize"],
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, ["quantised", "gptq"]),
        ({"quantization_config": {"quant_method": "awq"}}, ["quantised", "awq"]),
        ({"quantization_config": {"quant_method": "fp8"}}, ["quantised", "fp8"]),
        ({"compression_config": {"format": "pack"}}, ["quantised", "compression_config"]),
        (
            {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}},
            ["modeling_mine.Mine", "never runs", "mine"],
        ),
    ],
)
def test_what_config_json_says(
    make: Callable[[str], Case], changes: dict[str, Any], expected: list[str]
) -> None:
    message = make("llama").config(**changes).refused()
    for words in expected:
        assert words in message


def as_transformers_4(case: Case, **settings: Any) -> Case:
    """With rotary settings at the top of config.json, as older releases wrote them."""
    path = case.folder / "config.json"
    known = json.loads(path.read_text())
    del known["rope_parameters"]
    path.write_text(json.dumps(known | settings))
    return case


LINEAR = {"type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (
            "gemma3_text",
            {"rope_scaling": LINEAR},
            "the kind linear, and transformers reads default",
        ),
        ("olmo3", {"rope_scaling": LINEAR}, "kind linear, and transformers reads default"),
        ("gpt_oss", {"rope_scaling": None}, "no rotary scaling"),
        ("gpt_neox", {}, "rope_theta 500.0, and transformers reads 10000"),
        ("llama", {"partial_rotary_factor": 0.5}, "LlamaForCausalLM rotates whole heads"),
        (
            "qwen2",
            {"partial_rotary_factor": 0.5, "rope_scaling": LINEAR},
            "Qwen2ForCausalLM rotates whole heads",
        ),
    ],
)
def test_rotary_settings_that_transformers_passes_over(
    make: Callable[[str], Case], kind: str, settings: dict[str, Any], expected: str
) -> None:
    assert expected in as_transformers_4(make(kind), rope_theta=500.0, **settings).refused()


@pytest.mark.parametrize(
    ("kind", "scaling"),
    [("llama", LINEAR), ("qwen3", {"rope_type": "linear", "factor": 2.0}), ("gemma2", None)],
)
def test_rotary_settings_of_older_files(
    make: Callable[[str], Case], kind: str, scaling: dict[str, Any] | None
) -> None:
    case = as_transformers_4(make(kind), rope_theta=500.0, rope_scaling=scaling)
    assert case.works() == []
    hf = load_language_model(case.folder.parent / "fetched").hf
    expected = 500.0 ** (-torch.arange(0, 8, 2) / 8) / (2 if scaling else 1)
    frequencies = [one for name, one in hf.named_buffers() if name.endswith("inv_freq")]
    assert any(torch.allclose(one, expected) for one in frequencies)


def test_an_adapter_with_its_model_and_without(make: Callable[[str], Case], tmp_path: Path) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}
    case = make("llama").json("adapter_config.json", **adapter)
    message = case.refused()
    assert "LORA adapter of owner/base" in message
    assert "merge_and_unload" in message
    (case.folder / "config.json").unlink()
    (case.folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="LORA adapter of owner/base"):
        case.fetched()


@pytest.mark.parametrize("name", ADAPTER_WEIGHTS)
def test_the_weights_of_an_adapter_alone(make: Callable[[str], Case], name: str) -> None:
    case = make("llama")
    (case.folder / name).write_bytes(b"")
    message = case.refused()
    assert name in message
    assert "adapter" in message


@pytest.mark.parametrize("place", ["model.safetensors", "model-00002-of-00002.safetensors"])
def test_a_folder_in_the_place_of_weights(make: Callable[[str], Case], place: str) -> None:
    case = make("llama")
    if "of" in place:
        case.tensors(lambda t: t, shards=2)
    (case.folder / place).unlink()
    (case.folder / place).mkdir()
    with pytest.raises(UserError, match=r"no model\.safetensors|is not a file"):
        case.fetched()


def test_a_model_type_that_is_no_text(make: Callable[[str], Case]) -> None:
    with pytest.raises(UserError, match="model_type"):
        make("llama").config(model_type=["llama"]).fetched()


@pytest.mark.parametrize("small", [1 << 24, 0])
def test_a_fetched_folder_that_was_changed(
    make: Callable[[str], Case], small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, by another file with the old time stamp, or through the link to the user's own."""
    monkeypatch.setattr("counterpoint.files.digests.SMALL", small)
    monkeypatch.setattr("counterpoint.models.unchanged_folder.SMALL", small)
    case = make("llama")
    fetched = case.folder.parent / "fetched"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        case.works()
        path = fetched / name
        kept = path.read_bytes()
        times = path.stat()
        path.write_bytes(kept[:-1] + b" ")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(UserError, match=f"{name} changed after the model was fetched"):
            load_language_model(fetched)
        path.write_bytes(kept)
        load_language_model(fetched)
        path.unlink()
        with pytest.raises(UserError, match=f"{name} changed|no config.json"):
            load_language_model(fetched)


def test_code_beside_a_known_architecture_is_not_run_and_said(
    make: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("a question on a terminal that nobody sees")

    monkeypatch.setattr("builtins.input", asked)
    case = make("llama").config(
        auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    )
    case.json("tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Slow", "mine.Fast"]})
    (case.folder / "mine.py").write_text("raise SystemExit('this was run')")
    model, tokenizer = case.works()
    assert "mine.Model" in model
    assert "llama" in model
    assert "mine.Fast" in tokenizer


def test_an_architecture_that_transformers_does_not_have_is_said(
    make: Callable[[str], Case],
) -> None:
    (remark,) = make("llama").config(architectures=["MineForCausalLM"]).works()
    assert "MineForCausalLM" in remark
    assert make("llama").config(architectures=None).works() == []
    assert make("llama").config(architectures="LlamaForCausalLM").works() == []


def test_a_tokenizer_that_is_code_alone(make: Callable[[str], Case]) -> None:
    case = make("llama")
    (case.folder / "tokenizer.json").rename(case.folder / "vocab.json")
    case.json("tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Slow", None]})
    message = case.refused()
    assert "mine.Slow" in message
    assert "tokenizer.json" in message


def test_no_quantisation_written_as_null_is_none(make: Callable[[str], Case]) -> None:
    assert make("llama").config(quantization_config=None, auto_map={}).works() == []
