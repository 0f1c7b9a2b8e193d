"""The tokens of a model's folder are those of its files, by comparison with plain tokenizers."""

from __future__ import annotations

import io
import json
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.models.tokenizers.byte_level import GPT2, QWEN2, byte_spelling
from counterpoint.models.tokenizers.tokenizer import (
    contradictions,
    load_tokenizer,
    settle_tokenizer,
)
from tests.helpers import plain_tokenizers as plain
from tests.helpers.default_model import default_model
from tests.helpers.token_corpus import corpus

__all__ = ["default_model"]

N = int(os.environ.get("TOKEN_TEXTS", "160"))
"""Texts of each comparison; `make tokens` takes more."""
TEXTS = corpus(N, seed=1)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<bos>", "<eos>", "<unk>", "<s>", "</s>"]


@lru_cache
def trained(vocabulary: int = 900) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE whose merges cross every border that is cut."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\s\S]{1,24}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=alphabet,
        special_tokens=SPECIAL,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(2000, seed=2), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def byte_level(patterns: list[str], **model: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(*trained(), **model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def folder_of(
    place: Path, tokenizer: Tokenizer, configuration: dict[str, Any], **files: Any
) -> Path:
    place.mkdir(exist_ok=True)
    tokenizer.save(str(place / "tokenizer.json"))
    files = {"tokenizer_config": configuration, "config": {"model_type": "llama"}} | files
    for name, value in files.items():
        (place / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return place


def assert_same_ids(tokenizer: Any, encode: plain.Encode, texts: list[str] = TEXTS) -> None:
    """Through transformers' call, and through the backend, as the code uses both."""
    called = tokenizer(texts, add_special_tokens=False)["input_ids"]
    backend = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    different = []
    for text, ids, encoding in zip(texts, called, backend, strict=True):
        if not list(ids) == encoding.ids == encode(text):
            different.append((text, list(ids), encode(text)))
    assert not different, (len(different), different[:3])


# ---------------------------------------------------------------------------------- tokenizer.json

CLASSES = {
    "GPT2Tokenizer": "gpt2", "GPT2TokenizerFast": "llama", "GPTNeoXTokenizerFast": "gpt_neox",
    "Qwen2Tokenizer": "qwen2", "Qwen2TokenizerFast": "llama", "CodeGenTokenizer": "codegen",
    "LlamaTokenizer": "llama", "LlamaTokenizerFast": "mistral", "GemmaTokenizer": "gemma2",
    "CohereTokenizerFast": "cohere", "PreTrainedTokenizerFast": "qwen2", "NoSuchTokenizer": "phi3",
    "WhisperTokenizer": "gpt2", "RobertaTokenizerFast": "opt", "BloomTokenizerFast": "bloom",
}  # fmt: skip
CUTS = {"digits": [r"\p{N}", GPT2], "llama 3": [LLAMA3], "whole texts": [], "qwen": [QWEN2]}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", CLASSES)
def test_the_file_decides_whatever_class_is_named(name: str, cut: str, tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "model",
        byte_level(CUTS[cut]),
        {"tokenizer_class": name, "bos_token": "<bos>", "eos_token": "<eos>"},
        config={"model_type": CLASSES[name]},
    )
    tokenizer = load_tokenizer(folder)
    encode = plain.byte_level(*trained(), CUTS[cut])
    assert_same_ids(tokenizer, encode, TEXTS[: N // 4])
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<bos>", "<eos>")
    assert isinstance(tokenizer, PreTrainedTokenizerFast)


def test_transformers_still_rebuilds_some_classes(tmp_path: Path) -> None:
    """Why this is needed; when it fails, transformers reads the file and the notes can go."""
    tokenizer = byte_level(CUTS["digits"])
    folder = folder_of(tmp_path / "m", tokenizer, {"tokenizer_class": "GPT2Tokenizer"})
    rebuilt = AutoTokenizer.from_pretrained(folder)
    text = "Facts:\n\n1. Paris"
    own = tokenizer.encode(text, add_special_tokens=False).ids
    assert rebuilt.encode(text, add_special_tokens=False) != own
    assert load_tokenizer(folder).encode(text, add_special_tokens=False) == own


def test_a_normaliser_and_a_metaspace_stay(tmp_path: Path) -> None:
    tokenizer = byte_level([GPT2])
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("x", "yy")])
    folder = folder_of(tmp_path / "a", tokenizer, {"tokenizer_class": "GPT2Tokenizer"})
    loaded = load_tokenizer(folder)
    assert loaded.encode("box e\u0301") == loaded.encode("boyy \u00e9")
    for scheme in ("always", "first", "never"):
        metaspace = Tokenizer(
            models.BPE({"\u2581": 0, "a": 1, "\u2581a": 2, "b": 3}, [("\u2581", "a")])
        )
        metaspace.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        metaspace.decoder = decoders.Metaspace(prepend_scheme=scheme)
        folder = folder_of(tmp_path / scheme, metaspace, {"tokenizer_class": "LlamaTokenizer"})
        loaded = load_tokenizer(folder)
        assert loaded.encode("a b", add_special_tokens=False) == metaspace.encode("a b").ids
        assert loaded.decode(loaded.encode("a b")) == "a b"


def test_what_is_set_for_training_or_batches_is_off(tmp_path: Path) -> None:
    tokenizer = byte_level([GPT2], dropout=0.5)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    configuration = {"clean_up_tokenization_spaces": True, "model_max_length": 7}
    folder = folder_of(tmp_path / "m", tokenizer, configuration)
    loaded = load_tokenizer(folder)
    assert_same_ids(loaded, plain.byte_level(*trained(), [GPT2]))
    assert loaded.decode(loaded.encode("do n't , .")) == "do n't , ."
    assert loaded.batch_decode([loaded.encode(" .")]) == [" ."]
    assert loaded.model_max_length == 7


def test_special_tokens_as_the_files_say(tmp_path: Path) -> None:
    tokenizer = byte_level([GPT2])
    bos = {"content": "<bos>", "lstrip": False, "normalized": False, "special": True}
    named = {"tokenizer_class": "GPT2Tokenizer", "bos_token": bos, "pad_token": "<unk>"}
    loaded = load_tokenizer(folder_of(tmp_path / "a", tokenizer, named))
    # The class's own default for those that no file mentions, since the vocabulary has it.
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == (
        "<bos>",
        "<|endoftext|>",
        "<unk>",
    )
    assert {"<bos>", "<|endoftext|>", "<unk>"} == set(loaded.all_special_tokens)
    none = load_tokenizer(folder_of(tmp_path / "b", tokenizer, named | {"bos_token": None}))
    assert none.bos_token_id is None
    # No configuration at all: GPT-2's own repository.
    bare = folder_of(
        tmp_path / "c", tokenizer, {"model_max_length": 1024}, config={"model_type": "gpt2"}
    )
    loaded = load_tokenizer(bare)
    assert loaded.bos_token_id == loaded.eos_token_id == trained()[0]["<|endoftext|>"]
    # A class's default that the vocabulary lacks is not added.
    gemma = load_tokenizer(
        folder_of(tmp_path / "d", tokenizer, {"tokenizer_class": "CohereTokenizer"})
    )
    assert gemma.bos_token is None
    assert len(gemma) == len(trained()[0])
    old = folder_of(tmp_path / "e", tokenizer, {}, special_tokens_map={"bos_token": "<s>"})
    assert load_tokenizer(old).bos_token == "<s>"


def test_added_tokens_beyond_the_file(tmp_path: Path) -> None:
    tokenizer = byte_level([GPT2])
    n = tokenizer.get_vocab_size()
    added = {
        str(n): {"content": "<|user|>", "special": True},
        str(n + 1): {"content": "<think>", "special": False, "normalized": False},
    }
    folder = folder_of(tmp_path / "a", tokenizer, {"added_tokens_decoder": added})
    loaded = load_tokenizer(folder)
    assert loaded.encode("a<|user|>b<think>", add_special_tokens=False)[1::2] == [n, n + 1]
    assert loaded.added_tokens_decoder[n].special
    assert not loaded.added_tokens_decoder[n + 1].special
    old = folder_of(tmp_path / "b", tokenizer, {}, added_tokens={"<|user|>": n})
    assert load_tokenizer(old).convert_tokens_to_ids("<|user|>") == n
    for wrong in ({str(n + 5): added[str(n)]}, {"3": {"content": "<bos>", "special": True}}):
        folder = folder_of(tmp_path / "c", tokenizer, {"added_tokens_decoder": wrong})
        with pytest.raises(UserError, match=r"gives the token .* the id \d+, the vocabulary"):
            load_tokenizer(folder)


def test_a_beginning_without_an_id(tmp_path: Path) -> None:
    """transformers gives a token that no file knows a new id; an empty one that of <unk>."""
    tokenizer = byte_level([GPT2])
    for empty in ("", None):
        named = {"bos_token": empty, "eos_token": empty, "unk_token": "<unk>"}
        loaded = load_tokenizer(folder_of(tmp_path / "a", tokenizer, named))
        assert loaded.bos_token_id is None
        assert loaded.eos_token_id is None
    lacking = {"bos_token": "<begin>", "unk_token": "<unk>"}
    folder = folder_of(tmp_path / "b", tokenizer, lacking)
    with pytest.raises(UserError, match=r"'<begin>' .* is not in the vocabulary"):
        load_tokenizer(folder)
    n = tokenizer.get_vocab_size()
    known = folder_of(tmp_path / "b", tokenizer, lacking, added_tokens={"<begin>": n})
    assert load_tokenizer(known).bos_token_id == n
    # Of other tokens nothing depends on an id.
    others = {"pad_token": "[PAD]", "additional_special_tokens": ["<image>", "<unk>"]}
    loaded = load_tokenizer(folder_of(tmp_path / "c", tokenizer, others))
    assert len(loaded) == n
    assert loaded.extra_special_tokens == ["<unk>"]


@pytest.mark.parametrize(
    "named",
    [
        {"pad_token": "!", "unk_token": "a", "eos_token": "\u010a"},
        {"additional_special_tokens": ["is", "."]},
        {"additional_special_tokens": "is"},
    ],
)
def test_naming_an_ordinary_token_changes_no_id(named: dict[str, Any], tmp_path: Path) -> None:
    """`!` for padding, of id 0: else it would be cut out of every text before all merges."""
    from counterpoint.pairs.pair_checks import PairChecker

    tokenizer = byte_level([GPT2])
    folder = folder_of(tmp_path / "m", tokenizer, {"bos_token": "<bos>"} | named)
    for _ in range(2):
        loaded = load_tokenizer(folder)
        assert_same_ids(loaded, plain.byte_level(*trained(), [GPT2]), [*TEXTS, "a!! This is.\n\n"])
        assert not PairChecker(loaded).check_prompt("clean", "a!\n", loaded.encode("a!\n"))
        settle_tokenizer(folder)


def test_a_beginning_that_is_an_ordinary_word_may_not_stand_in_a_prompt(tmp_path: Path) -> None:
    from counterpoint.pairs.pair_checks import PairChecker

    words = Tokenizer(models.WordLevel({"<bos>": 0, "a": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = folder_of(tmp_path / "m", words, {"bos_token": "<bos>"})
    checker = PairChecker(load_tokenizer(folder))
    assert checker.first == [0]
    (problem,) = checker.check_prompt("clean", "<bos> a", [0, 1])
    assert problem.kind == "special token"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"tokenizer_config": {"bos_token": 1}}, "has 1 as a token of bos_token"),
        ({"tokenizer_config": {"bos_token": ["<bos>"]}}, "as a token of bos_token"),
        ({"special_tokens_map": {"eos_token": {"special": True}}}, "as a token of eos_token"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": "y"}}}, "'x' for the id"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"5": {}}}},
            "token of added_tokens_decoder",
        ),
        ({"tokenizer_config": {"added_tokens_decoder": ["<x>"]}}, "is no object"),
        ({"added_tokens": {"<x>": "one"}}, "'one' for the id"),
    ],
)
def test_special_tokens_that_are_none(files: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        load_tokenizer(folder_of(tmp_path / "m", byte_level([GPT2]), {}, **files))


def test_settings_that_are_none_change_nothing(tmp_path: Path) -> None:
    odd = {"model_max_length": "long", "padding_side": "middle", "split_special_tokens": "yes"}
    odd |= {"model_input_names": 3, "chat_template": [{"name": "default"}]}
    folder = folder_of(tmp_path / "m", byte_level([GPT2]), odd)
    assert load_tokenizer(folder).chat_template is None
    (folder / "chat_template.jinja").write_bytes(b"\xe9")
    assert_same_ids(load_tokenizer(folder), plain.byte_level(*trained(), [GPT2]), TEXTS[:20])


@pytest.mark.parametrize(
    ("added", "vocabulary", "reason"),
    [
        ({"<new>": 950}, {}, "'<new>' the id 950, which is 900"),
        ({"<new>": 300}, {}, "'<new>' the id 300, which is 900"),
        ({"<new>": 901, "<newer>": 900}, {}, None),
        ({"<s>": 400}, {}, "'<s>' the id 400, which is 4"),
        ({}, {"zzz": 5}, "and 'zzz' the same id 5"),
    ],
)
def test_ids_that_the_library_would_change(
    added: dict[str, int], vocabulary: dict[str, int], reason: str | None, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "m", byte_level([GPT2]), {})
    saved = read(folder / "tokenizer.json")
    how = {**saved["added_tokens"][0], "special": True}
    known = {token["content"]: token for token in saved["added_tokens"]}
    for text, number in added.items():
        known[text] = {**how, "content": text, "id": number}
    saved["added_tokens"] = list(known.values())
    saved["model"]["vocab"] |= vocabulary
    (folder / "tokenizer.json").write_text(json.dumps(saved), encoding="utf-8")
    if reason is None:
        with suppress(UserError):
            loaded = load_tokenizer(folder)
            assert {text: loaded.convert_tokens_to_ids(text) for text in added} == added
        return
    with pytest.raises(UserError, match=reason):
        load_tokenizer(folder)


def test_files_that_contradict_tokenizer_json_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", byte_level([GPT2]), {})
    vocabulary, merges = trained()
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(lines))
    assert contradictions(folder) == []
    (folder / "merges.txt").write_text("\n".join(lines[:-9]))
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"a": vocabulary["b"]}))
    vocabulary_said, merges_said = contradictions(folder)
    assert "'a'" in vocabulary_said
    assert "merges.txt" in merges_said
    (folder / "vocab.json").write_text("[")
    assert contradictions(folder) == []


def test_damaged_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", byte_level([GPT2]), {})
    whole = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(whole[:1000], encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer.json is not a tokenizer.*download it again"):
        load_tokenizer(folder)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    (folder / "tokenizer.json").write_text(pointer, encoding="utf-8")
    with pytest.raises(UserError, match="git lfs pull"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").write_text(whole, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer_config.json is not JSON"):
        load_tokenizer(folder)


def test_a_settled_folder_reads_the_same_everywhere(tmp_path: Path) -> None:
    tokenizer = byte_level(CUTS["digits"])
    n = tokenizer.get_vocab_size()
    configuration = {
        "tokenizer_class": "GPT2Tokenizer",
        "added_tokens_decoder": {str(n): {"content": "<|user|>", "special": True}},
        "eos_token": "<eos>",
        "chat_template": "{{ messages }}",
    }
    stale = {"bos_token": "<s>", "eos_token": "</s>"}
    folder = folder_of(tmp_path / "m", tokenizer, configuration, special_tokens_map=stale)
    before = load_tokenizer(folder)
    settle_tokenizer(folder)
    after, auto = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    plainly = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in [*TEXTS, "a<|user|> 1"]:
        ids = before.encode(text, add_special_tokens=False)
        assert ids == after.encode(text, add_special_tokens=False)
        assert ids == auto.encode(text, add_special_tokens=False)
        assert ids == plainly.encode(text, add_special_tokens=False).ids
    for loaded in (after, auto):
        assert loaded.special_tokens_map == before.special_tokens_map
        assert (loaded.bos_token, loaded.eos_token) == ("<s>", "<eos>")
        assert loaded.chat_template == "{{ messages }}"


def test_a_fetched_folder_holds_the_files_tokens(tmp_path: Path) -> None:
    """As the hub has SmolLM2: single digits in the file, GPT-2's class beside it; two templates."""
    from counterpoint.models.fetch import fetch_model
    from tests.helpers.tiny_models import save_tiny_model

    given = tmp_path / "given"
    save_tiny_model("llama", given)
    templates = [{"name": "default", "template": "a"}, {"name": "tools", "template": "b"}]
    configuration = {"tokenizer_class": "GPT2Tokenizer", "chat_template": templates}
    folder_of(given, byte_level(CUTS["digits"]), configuration, config=read(given / "config.json"))
    encode = plain.byte_level(*trained(), CUTS["digits"])
    fetch_model({"source": "local", "path": str(given)}, tmp_path / "fetched")
    for tokenizer in (load_tokenizer, AutoTokenizer.from_pretrained):
        assert_same_ids(tokenizer(tmp_path / "fetched"), encode, TEXTS[:40])
    assert load_tokenizer(tmp_path / "fetched").chat_template == {"default": "a", "tools": "b"}
    # The files that were given stay as they are.
    assert read(given / "tokenizer_config.json") == configuration


def test_a_tokenizer_that_is_not_known_ends_the_fetch(tmp_path: Path) -> None:
    from counterpoint.models.fetch import fetch_model
    from tests.helpers.tiny_models import save_tiny_model

    given = tmp_path / "given"
    save_tiny_model("llama", given)
    (given / "tokenizer.json").unlink()
    (given / "vocab.json").write_text("{}")
    with pytest.raises(UserError, match=r"vocab.json stands without merges.txt"):
        fetch_model({"source": "local", "path": str(given)}, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------ no tokenizer.json


def slow_folder(place: Path, configuration: dict[str, Any], model_type: str = "gpt2") -> Path:
    place.mkdir()
    vocabulary, merges = trained_as_gpt2()
    (place / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (place / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")
    (place / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return place


@lru_cache
def trained_as_gpt2(digits: bool = False) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    cuts = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=1500, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(2000, seed=3), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "CodeGenTokenizer", None])
def test_vocab_and_merges_of_gpt2(name: str | None, tmp_path: Path) -> None:
    folder = slow_folder(tmp_path / "m", {"tokenizer_class": name} if name else {})
    assert_same_ids(load_tokenizer(folder), plain.byte_level(*trained_as_gpt2(), [GPT2]))


def test_vocab_and_merges_of_qwen(tmp_path: Path) -> None:
    folder = slow_folder(tmp_path / "m", {"tokenizer_class": "Qwen2Tokenizer"}, "qwen2")
    composed = corpus(N, seed=1, composed=True)
    encode = plain.byte_level(*trained_as_gpt2(), [QWEN2])
    assert_same_ids(load_tokenizer(folder), encode, composed)


def test_vocabularies_that_were_cut_otherwise_are_refused(tmp_path: Path) -> None:
    folder = slow_folder(tmp_path / "m", {"tokenizer_class": "GPT2Tokenizer"})

    def put(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(map(" ".join, merges)), encoding="utf-8")

    put(*trained())
    with pytest.raises(UserError, match=r"is then two pieces.*tokenizer\.json"):
        load_tokenizer(folder)
    put(*trained_as_gpt2(digits=True))
    with pytest.raises(UserError, match=r"none of .* merges joins two digits"):
        load_tokenizer(folder)
    vocabulary, merges = trained_as_gpt2()
    put(vocabulary, [*merges, ("a", "nowhere")])
    with pytest.raises(UserError, match="do not fit each other"):
        load_tokenizer(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"without merges.txt"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"tokenizer_class": "GPTNeoXTokenizer"}, "do not say how texts are cut"),
        ({"tokenizer_class": "CLIPTokenizer"}, "do not say how texts are cut"),
        ({"tokenizer_class": "BioGptTokenizer"}, "do not say how texts are cut"),
        ({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}, "add_prefix_space means"),
        ({"auto_map": {"AutoTokenizer": ["t.T", None]}}, "custom code, which is never run"),
    ],
)
def test_what_cannot_be_known_is_refused(configuration: Any, reason: str, tmp_path: Path) -> None:
    folder = slow_folder(tmp_path / "m", configuration)
    with pytest.raises(UserError, match=f"{reason}.*Put the model's tokenizer.json"):
        load_tokenizer(folder)


def sentencepiece_file(place: Path, **settings: Any) -> sentencepiece.SentencePieceProcessor:
    place.mkdir()
    written = io.BytesIO()
    texts = [line for text in corpus(2000, seed=4) for line in text.split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=written, vocab_size=1200, minloglevel=2,
        **{"character_coverage": 0.98, "num_threads": 1, "hard_vocab_limit": False} | settings,
    )  # fmt: skip
    (place / "tokenizer.model").write_bytes(written.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


LLAMA2 = {
    "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False, "split_digits": True, "allow_whitespace_only_pieces": True,
}  # fmt: skip
SENTENCEPIECE = {
    "Llama 2": LLAMA2,
    "Gemma": LLAMA2 | {"add_dummy_prefix": False},
    "Mistral": LLAMA2 | {"user_defined_symbols": ["[INST]", "[REF_1]", "[REF_12]"]},
    "Gemma, with words": LLAMA2
    | {"add_dummy_prefix": False, "user_defined_symbols": ["<td>", "\n\n"]},
    "words, no bytes": LLAMA2 | {"byte_fallback": False},
    "nfkc": {"model_type": "bpe", "byte_fallback": True},
}


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_sentencepiece(kind: str, tmp_path: Path) -> None:
    reference = sentencepiece_file(tmp_path / "m", **SENTENCEPIECE[kind])
    name = "GemmaTokenizer" if kind == "Gemma" else "LlamaTokenizer"
    configuration = {"tokenizer_class": name, "legacy": True}
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps(configuration))
    tokenizer = load_tokenizer(tmp_path / "m")
    words = SENTENCEPIECE[kind].get("user_defined_symbols", [])
    texts = [f"a{word}b {word}{word}  c {word}" for word in words]
    texts += [text.replace("Paris", word) for word in words for text in TEXTS[:40]]
    assert_same_ids(tokenizer, reference.encode, [*texts, *TEXTS])
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.decode(tokenizer.encode("Paris is 1. it"), clean_up_tokenization_spaces=False)
    settle_tokenizer(tmp_path / "m")
    assert_same_ids(load_tokenizer(tmp_path / "m"), reference.encode, TEXTS[:60])


def test_sentencepiece_that_is_refused(tmp_path: Path) -> None:
    sentencepiece_file(tmp_path / "m", **LLAMA2)
    configuration = tmp_path / "m" / "tokenizer_config.json"
    configuration.write_text(json.dumps({"tokenizer_class": "XGLMTokenizer"}))
    with pytest.raises(UserError, match=r"ids of a XGLMTokenizer are not those of tokenizer.model"):
        load_tokenizer(tmp_path / "m")
    configuration.write_text("{}")
    sentencepiece_file(tmp_path / "u", model_type="unigram")
    with pytest.raises(UserError, match="no BPE, the only kind that is converted exactly"):
        load_tokenizer(tmp_path / "u")
    nfkc = LLAMA2 | {"normalization_rule_name": "nmt_nfkc"}
    sentencepiece_file(tmp_path / "n", **nfkc)
    with pytest.raises(UserError, match=r"cannot be converted exactly: '.*\\r\\n"):
        load_tokenizer(tmp_path / "n")
    (tmp_path / "m" / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    with pytest.raises(UserError, match="no SentencePiece model"):
        load_tokenizer(tmp_path / "m")


def test_no_space_in_front_where_the_configuration_says_so(tmp_path: Path) -> None:
    sentencepiece_file(tmp_path / "m", **LLAMA2)
    said = {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps(said))
    tokenizer = load_tokenizer(tmp_path / "m")
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("it"))[0] == "it"
    assert tokenizer.decode(tokenizer.encode(" it")) == " it"


def test_word_piece(tmp_path: Path) -> None:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "the",
        "par",
        "##is",
        "##1",
        "1",
        "##9",
        "un",
        "##the",
        ".",
        "'",
    ]
    words += [chr(c) for c in range(97, 115)] + [f"##{chr(c)}" for c in range(97, 115)]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    encode = plain.word_piece({word: number for number, word in enumerate(words)}, "[UNK]")
    texts = [t for t in corpus(4 * N, seed=5) if t.isascii()]
    assert_same_ids(load_tokenizer(tmp_path), encode, texts)
    for setting in ({"do_basic_tokenize": False}, {"never_split": ["the"]}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(setting))
        with pytest.raises(UserError, match=f"{next(iter(setting))} .* is not converted"):
            load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}')
    with pytest.raises(UserError, match=r"vocab.txt is not read as the class CTRLTokenizer would"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "vocab.txt").write_bytes(b"\xe9\n")
    with pytest.raises(UserError, match=r"vocab.txt is not UTF-8"):
        load_tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer there"):
        load_tokenizer(tmp_path)


def test_the_spelling_of_bytes_is_that_of_the_library() -> None:
    assert set(byte_spelling().values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert byte_spelling() == plain.spelling()


# ------------------------------------------------------------------------------- the default model


def test_the_default_model(default_model: Path) -> None:
    """SmolLM2: digits stand alone before anything else is cut, as `pre: smollm` says."""
    tokenizer = load_tokenizer(default_model)
    saved = json.loads((default_model / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = saved["model"]["vocab"]
    merges = [tuple(pair) for pair in saved["model"]["merges"]]
    special = [token["content"] for token in saved["added_tokens"]]
    encode = plain.byte_level(vocabulary, merges, [r"\p{N}", GPT2], special=special)
    assert_same_ids(tokenizer, encode, [*corpus(max(N, 600), seed=6), "<|im_start|>user\n1"])
    ids = tokenizer.encode("Facts:\n\n1. Paris is the capital of")
    assert [tokenizer.decode([number]) for number in ids] == [
        "Facts", ":", "\n\n", "1", ".", " Paris", " is", " the", " capital", " of"
    ]  # fmt: skip


def test_no_job_lets_transformers_choose_the_tokenizer() -> None:
    for place in ("counterpoint", "scripts", "benchmarks"):
        for path in Path(place).rglob("*.py"):
            imports = re.findall(r"^\s*from transformers import .*", path.read_text(), re.MULTILINE)
            assert not [line for line in imports if "AutoTokenizer" in line], path


@pytest.mark.parametrize("begin", ["<bos>", None])
def test_every_job_says_the_same_beginning(begin: str | None, tmp_path: Path) -> None:
    """That which checks the pairs, and the model's."""
    from counterpoint.models.load import LanguageModel
    from counterpoint.pairs.pair_checks import PairChecker
    from tests.helpers.tiny_models import make_tiny_tokenizer

    tokenizer = make_tiny_tokenizer()
    tokenizer.bos_token = begin and tokenizer.bos_token
    tokenizer.save_pretrained(tmp_path)
    first = PairChecker(load_tokenizer(tmp_path)).first
    assert first == ([] if begin is None else [tokenizer.bos_token_id])
    nothing: Any = None
    model = LanguageModel(hf=nothing, words=load_tokenizer(tmp_path), names=nothing)
    assert model.encode(" w5") == [*first, 5]
