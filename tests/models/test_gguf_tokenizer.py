"""The tokens of a GGUF file: every way of cutting that a name stands for, and what is refused."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import pytest
import regex

from counterpoint.errors import UserError
from counterpoint.models.gguf.gguf_metadata import read_metadata
from counterpoint.models.gguf.gguf_patterns import CUTS
from counterpoint.models.gguf.gguf_tokenizer import gguf_tokenizer
from tests.helpers import plain_tokenizers as plain
from tests.helpers.token_corpus import corpus
from tests.models.test_tokenizer import SPECIAL, N, assert_same_ids, sentencepiece_file, trained

TEXTS = corpus(N, seed=7)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def write(path: Path, tokens: Sequence[str], types: Sequence[int], **keys: Any) -> Path:
    """A GGUF file of a tokenizer alone; a key that is None is left out."""
    values = {"model": "gpt2", "pre": "gpt-2"} | keys
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    for key, value in values.items():
        name = f"tokenizer.ggml.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif value is not None:
            writer.add_array(name, list(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def byte_level_file(path: Path, **keys: Any) -> Path:
    """The tokens of `trained`, whose merges cross every border that a pattern may cut."""
    vocabulary, merges = trained()
    types = [CONTROL if token in SPECIAL else NORMAL for token in vocabulary]
    keys = {"merges": [" ".join(pair) for pair in merges], "bos_token_id": 1} | keys
    return write(path, list(vocabulary), types, **keys)


# ------------------------------------------------------------------------------ byte-level BPE

# The patterns once more, written by the names of what they take, so that a slip in the table shows:
# for each of some names what the pieces of a text are.
PIECES = {
    ("smollm", "Facts:\n\n1. a12"): ["Facts", ":", "\n\n", "1", ".", " a", "1", "2"],
    ("gpt-2", "Facts:\n\n1. a12"): ["Facts", ":", "\n", "\n", "1", ".", " a", "12"],
    ("default", "a\n1234, b"): ["a", "\n", "123", "4", ",", " b"],
    ("falcon", "a `12345"): ["a", " ", "`", "123", "45"],
    ("llama-bpe", "It'S 12345\n\n x=("): ["It", "'S", " ", "123", "45", "\n\n", " x", "=("],
    ("qwen2", "It'S 123"): ["It", "'S", " ", "1", "2", "3"],
    ("stablelm2", "a.b  c\r\n"): ["a", ".b", " ", " c", "\r\n"],
    ("deepseek-v3", "x12345 (abc) 中a"): ["x", "123", "45", " (", "abc", ")", " ", "中", "a"],
    ("deepseek-coder", "f(12)\n"): ["f", "(", "1", "2", ")", "\n"],
    # Its third pattern, meant for signs, takes ASCII letters too, and so parts them from others.
    ("deepseek-llm", "été ab 123!\n"): ["é", "t", "é", " ab", " ", "123", "!", "\n"],
    ("tekken", "helloWorld 12"): ["hello", "World", " ", "1", "2"],
    ("gpt-4o", "HelloWORLDs's 1234/"): ["Hello", "WORLDs's", " ", "123", "4", "/"],
    ("bloom", "a, b.c"): ["a", ",", " b", ".", "c"],
    ("viking", "a 12."): ["a", " ", "1", "2", "."],
    ("command-r", "a 1!"): ["a", " ", "1", "!"],
    ("tiny_aya", "a1234567"): ["a", "1", "234", "567"],
    ("seed-coder", "a;\n"): ["a", ";", "\n"],
    ("exaone-moe", "ab cd 1"): ["ab cd", " ", "1"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), PIECES)
def test_the_pieces_of_a_name(name: str, text: str) -> None:
    """Found by `regex`, an engine of its own."""
    assert plain.cut(text, CUTS[name].patterns) == PIECES[name, text]


@pytest.mark.parametrize("cut", sorted(set(CUTS.values())), ids=lambda cut: _name(cut))
def test_every_way_of_cutting(cut: Any, tmp_path: Path) -> None:
    path = byte_level_file(tmp_path / "m.gguf", pre=_name(cut))
    encode = plain.byte_level(*trained(), cut.patterns, whole=cut.whole)
    texts = TEXTS
    if any(r"\b" in pattern for pattern in cut.patterns):
        # To Oniguruma, the engine of the models' own tokenizers, ½ is part of a word.
        texts = [text for text in TEXTS if not regex.search("[0-9][²³¹¼½¾]", text)]
    assert_same_ids(gguf_tokenizer(path), encode, texts)


def _name(cut: Any) -> str:
    return next(name for name, value in CUTS.items() if value == cut)


def test_whole_pieces_are_tokens_where_the_name_says_so(tmp_path: Path) -> None:
    """` of` has no merges here and is a token: Llama 3 takes it, GPT-2 does not."""
    vocabulary, merges = trained()
    tokens = [*vocabulary, "Ġzq"]
    types = [NORMAL] * len(tokens)
    keys = {"merges": [" ".join(pair) for pair in merges]}
    for pre, whole in (("llama-bpe", True), ("dbrx", False), ("tekken", True), ("qwen2", False)):
        tokenizer = gguf_tokenizer(write(tmp_path / pre, tokens, types, pre=pre, **keys))
        assert (tokenizer.encode(" zq") == [len(tokens) - 1]) is whole


def test_special_and_user_defined_tokens(tmp_path: Path) -> None:
    vocabulary, merges = trained()
    extra = {"<｜begin▁of▁sentence｜>": CONTROL, "<think>": USER_DEFINED, "[PAD9]": UNUSED}
    tokens = [*vocabulary, *extra]
    types = [CONTROL if token in SPECIAL else NORMAL for token in vocabulary] + list(extra.values())
    begin = len(vocabulary)
    path = write(
        tmp_path / "m.gguf", tokens, types, merges=[" ".join(pair) for pair in merges],
        bos_token_id=begin, eos_token_id=2, padding_token_id=3, add_bos_token=True,
    )  # fmt: skip
    tokenizer = gguf_tokenizer(path)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<｜begin▁of▁sentence｜>", begin)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 3)
    assert len(tokenizer) == len(tokens)
    text = "<｜begin▁of▁sentence｜>a<think> 1<eos>[PAD9]"
    encode = plain.byte_level(
        dict(zip(tokens, range(len(tokens)), strict=True)), merges, CUTS["gpt-2"].patterns,
        special=[*SPECIAL, *list(extra)[:2]],
    )  # fmt: skip
    assert_same_ids(tokenizer, encode, [text, *TEXTS])
    added = tokenizer.added_tokens_decoder
    assert added[begin].special
    assert not added[begin + 1].special
    assert begin + 2 not in added
    # The file says that it begins every text with the token.
    assert tokenizer.encode("a")[0] == begin
    assert tokenizer.encode("a", add_special_tokens=False) == encode("a")


def test_a_file_and_the_folder_made_of_it_read_the_same(tmp_path: Path) -> None:
    from counterpoint.models.tokenizers.tokenizer import load_tokenizer

    tokenizer = gguf_tokenizer(byte_level_file(tmp_path / "m.gguf", pre="smollm"))
    tokenizer.save_pretrained(tmp_path / "m")
    again = load_tokenizer(tmp_path / "m")
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_an_ordinary_token_that_is_named_stays_ordinary(tmp_path: Path) -> None:
    """Files name token 0 for padding, `!` in many: it is no special one for that."""
    vocabulary, merges = trained()
    number = vocabulary["!"]
    keys = {"padding_token_id": number, "eos_token_id": vocabulary["\u010a"]}
    tokenizer = gguf_tokenizer(byte_level_file(tmp_path / "m.gguf", **keys))
    encode = plain.byte_level(vocabulary, merges, CUTS["gpt-2"].patterns)
    assert_same_ids(tokenizer, encode, [*TEXTS, "a!! This is!\n\n"])
    assert number not in tokenizer.added_tokens_decoder
    assert tokenizer.eos_token_id == vocabulary["\u010a"]


@pytest.mark.parametrize("pre", ["kimi-k2", "afmoe", "a-new-one", "", None])
def test_an_unknown_way_of_cutting_is_refused_by_name(pre: str | None, tmp_path: Path) -> None:
    path = byte_level_file(tmp_path / "m.gguf", pre=pre)
    said = "is not there" if not pre else f"'{pre}' is not known"
    with pytest.raises(UserError, match=f"tokenizer.ggml.pre.*{said}.*smollm.*Convert the model"):
        gguf_tokenizer(path)


@pytest.mark.parametrize("pre", ["a-new-one", None])
def test_it_is_read_where_cutting_changes_nothing(pre: str | None, tmp_path: Path) -> None:
    """Merges within small letters that no contraction ends in: no name would cut there."""
    tokens = [*plain.spelling().values(), "ab", "nab", "ban"]
    merges = ["a b", "n ab", "b an"][:2]
    path = write(tmp_path / "a", tokens, [NORMAL] * len(tokens), pre=pre, merges=merges)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    for cut in set(CUTS.values()):
        encode = plain.byte_level(vocabulary, pairs, cut.patterns)
        texts = [*TEXTS[:20], "nab's abd've\n\nABab 1ab2"]
        assert_same_ids(gguf_tokenizer(path), encode, texts)
    for other in ("s a", "Ġ a", "A b", "1 2"):  # ends a contraction, space, case, digits
        first, second = other.split(" ")
        more = [*tokens, first + second]
        path = write(tmp_path / "b", more, [NORMAL] * len(more), pre=pre, merges=[*merges, other])
        with pytest.raises(UserError, match=r"tokenizer.ggml.pre"):
            gguf_tokenizer(path)


# ------------------------------------------------------------------------------- SentencePiece


def llama_file(path: Path, folder: Path, **keys: Any) -> tuple[Path, plain.Encode]:
    from sentencepiece import sentencepiece_model_pb2

    from tests.models.test_tokenizer import LLAMA2

    sentencepiece_file(folder, **LLAMA2)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "tokenizer.model").read_bytes())
    tokens = [piece.piece for piece in proto.pieces]
    scores = [piece.score for piece in proto.pieces]
    types = [piece.type for piece in proto.pieces]
    values = {"model": "llama", "pre": "default", "scores": scores} | keys
    write(path, tokens, types, **values)
    usable = [kind == NORMAL for kind in types]
    prefix = bool(keys.get("add_space_prefix", True))
    return path, plain.sentencepiece(tokens, scores, usable, prefix=prefix)


@pytest.mark.parametrize("prefix", [None, True, False])
def test_sentencepiece_in_gguf(prefix: bool | None, tmp_path: Path) -> None:
    keys = {} if prefix is None else {"add_space_prefix": prefix}
    path, encode = llama_file(tmp_path / "m.gguf", tmp_path / "m", **keys)
    tokenizer = gguf_tokenizer(path)
    assert_same_ids(tokenizer, encode, TEXTS)
    # What the format takes for granted where a file is silent.
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text


def test_sentencepiece_that_does_not_fix_its_tokens(tmp_path: Path) -> None:
    path, _ = llama_file(tmp_path / "m.gguf", tmp_path / "m", scores=None)
    with pytest.raises(UserError, match="no score for each token"):
        gguf_tokenizer(path)
    data = read_metadata(path)
    tokens, types = data["tokenizer.ggml.tokens"], data["tokenizer.ggml.token_type"]
    flat = write(path, tokens, types, model="llama", scores=[-1.0] * len(tokens))
    with pytest.raises(UserError, match="order of their merges is not known"):
        gguf_tokenizer(flat)
    scores = [float(-n) for n in range(len(tokens))]
    stray = write(path, [*tokens, "aǂ"], [*types, NORMAL], model="llama", scores=[*scores, -1.0])
    with pytest.raises(UserError, match="'aǂ' has a character that is no token itself"):
        gguf_tokenizer(stray)


def test_characters_with_merges(tmp_path: Path) -> None:
    """`gemma4`: lines of characters, a space as ▁, runs of line ends whole, bytes for the rest."""
    letters = sorted(
        {c for text in TEXTS for c in unicodedata.normalize("NFC", text) if c.isascii()}
    )
    singles = ["\u2581", *(c for c in letters if c != " ")]
    merges = [
        ("\n", "\n"),
        ("\u2581", "\u2581"),
        ("t", "h"),
        ("th", "e"),
        ("\u2581", "the"),
        ("1", "9"),
    ]
    tokens = [*(f"<0x{b:02X}>" for b in range(256)), *singles, *(a + b for a, b in merges)]
    types = [BYTE] * 256 + [NORMAL] * (len(tokens) - 256)
    keys = {"model": "gemma4", "pre": None, "merges": [" ".join(pair) for pair in merges]}
    tokenizer = gguf_tokenizer(write(tmp_path / "m.gguf", tokens, types, **keys))
    ids = {token: number for number, token in enumerate(tokens)}
    rank = {pair: number for number, pair in enumerate(merges)}

    def encode(text: str) -> list[int]:
        found: list[int] = []
        for line in regex.findall(r"[^\n]+|\n+", text.replace(" ", "\u2581")):
            for part in plain.merge_by(list(line), lambda a, b: rank.get((a, b))):
                found += (
                    [ids[part]] if part in ids else [ids[f"<0x{b:02X}>"] for b in part.encode()]
                )
        return found

    assert_same_ids(tokenizer, encode, TEXTS)


# ------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"model": "bert"}, "of the kind 'bert'"),
        ({"model": "rwkv"}, "of the kind 'rwkv'"),
        ({"model": None}, "of the kind None"),
        ({"merges": None}, "holds no merges"),
        ({"merges": ["ab"]}, "'ab' is not two tokens"),
        ({"merges": ["a nowhere"]}, "do not fit each other"),
        ({"bos_token_id": 10**6}, "bos_token_id is 1000000, and there are 900 tokens"),
        ({"add_space_prefix": True}, "add_space_prefix"),
        ({"normalizer.lowercase": True}, "tokenizer.ggml.normalizer.lowercase"),
        ({"escape_whitespaces": False}, "tokenizer.ggml.escape_whitespaces"),
        ({"remove_extra_whitespaces": True}, "tokenizer.ggml.remove_extra_whitespaces"),
    ],
)
def test_files_that_are_refused(keys: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = byte_level_file(tmp_path / "m.gguf", **keys)
    with pytest.raises(UserError, match=reason):
        gguf_tokenizer(path)


def test_files_that_are_not_whole(tmp_path: Path) -> None:
    path = byte_level_file(tmp_path / "m.gguf")
    whole = path.read_bytes()
    for data in (whole[:5000], whole[:4] + b"\x09\x00\x00\x00" + whole[8:], whole[:10]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"metadata cannot be read"):
            gguf_tokenizer(path)
    path.write_bytes(b"PK" + whole)
    with pytest.raises(UserError, match="not a GGUF file"):
        gguf_tokenizer(path)
    vocabulary, _ = trained()
    double = write(path, [*vocabulary, "a"], [NORMAL] * 901, merges=["a b"])
    with pytest.raises(UserError, match="has the token 'a' more than once"):
        gguf_tokenizer(double)
    empty = write(path, [*vocabulary, "", ""], [NORMAL] * 902, merges=[" ".join(trained()[1][0])])
    assert len(gguf_tokenizer(empty)) == 902
    short = write(path, list(vocabulary), [NORMAL] * 5, merges=["a b"])
    with pytest.raises(UserError, match="900 tokens and 5 types"):
        gguf_tokenizer(short)


def test_metadata_is_what_the_gguf_package_reads(tmp_path: Path) -> None:
    path = byte_level_file(tmp_path / "m.gguf", scores=[0.5, -1.25], add_bos_token=False)
    fields = gguf.GGUFReader(path).fields
    expected = {k: f.contents() for k, f in fields.items() if not k.startswith("GGUF.")}
    assert json.dumps(read_metadata(path), sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_names_are_written_once() -> None:
    source = Path("counterpoint/models/gguf/gguf_patterns.py").read_text(encoding="utf-8")
    table = source[source.index("CUTS: dict") :]
    names = [name for name in re.findall(r'"([\w.\-]+)"', table) if name in CUTS]
    assert sorted(names) == sorted(CUTS)
