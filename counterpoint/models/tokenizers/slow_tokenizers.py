"""Folders without `tokenizer.json`: converted where their files fix the ids, else refused.

* `tokenizer.model`, `spiece.model`: SentencePiece's BPE. The conversion is compared with the
  library on texts made of the model's own pieces before it is used. Unigram models are refused.
* `vocab.json` and `merges.txt`: byte-level BPE. How texts are cut into pieces is known from the
  class alone, and the vocabulary must agree: every token must be one piece.
* `vocab.txt`: BERT's WordPiece.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json

GPT2_CLASSES = ("GPT2Tokenizer", "CodeGenTokenizer")
"""Classes whose slow form cuts texts as GPT-2 does, each with its ids as vocab.json has them."""
SENTENCEPIECE_CLASSES = (
    None,
    "LlamaTokenizer",
    "CodeLlamaTokenizer",
    "GemmaTokenizer",
    "PreTrainedTokenizer",
    "TokenizersBackend",
)
"""Classes whose ids are those of the SentencePiece file; others shift or add some by code."""
ENOUGH_MERGES = 1000
"""A vocabulary with so many merges shows how its texts were cut: numbers are among its tokens."""
CHECKED_TEXTS = 500

REMEDY = (
    "Put the model's tokenizer.json into the folder (most repositories have one), or write one with"
    " the version of transformers that the model was made with: AutoTokenizer.from_pretrained("
    "FOLDER).backend_tokenizer.save('tokenizer.json')."
)


def convert(
    folder: Path, named_class: str | None, settings: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return the `tokenizers.Tokenizer` of a folder without `tokenizer.json`.

    Its second part are the special tokens that the files themselves name. ``named_class`` is the
    tokenizer's class without `Fast`, and ``settings`` what `tokenizer_config.json` holds.
    Raises UserError, with the reason and `REMEDY`, where the files do not fix the ids.
    """
    if "auto_map" in settings:
        raise _refused(folder, "its tokenizer is custom code, which is never run")
    for name in ("tokenizer.model", "spiece.model"):
        if (folder / name).is_file():
            return _sentencepiece(folder / name, named_class, settings)
    if (folder / "vocab.json").is_file():
        return _byte_level(folder, named_class, settings), {}
    if (folder / "vocab.txt").is_file():
        return _word_piece(folder, named_class, settings), {}
    raise UserError(f"{folder}: no tokenizer there (tokenizer.json). {REMEDY}")


def _refused(folder: Path, reason: str) -> UserError:
    return UserError(f"{folder}: there is no tokenizer.json, and {reason}. {REMEDY}")


# ----------------------------------------------------------------------------------- SentencePiece


def _sentencepiece(
    path: Path, named_class: str | None, settings: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    from google.protobuf.message import DecodeError
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
    from tokenizers import AddedToken

    from counterpoint.models.tokenizers.sentencepiece_bpe import (
        merges_by_score,
        sentencepiece_bpe,
    )

    if named_class not in SENTENCEPIECE_CLASSES:
        raise _refused(path.parent, f"the ids of a {named_class} are not those of {path.name}")
    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        proto.ParseFromString(path.read_bytes())
        whole = len(proto.pieces) > 0
    except DecodeError:
        whole = False
    if not whole:
        raise _refused(
            path.parent,
            f"{path.name} is no SentencePiece model (a table of ranks, as tiktoken has, does not"
            " say how texts are cut)",
        )
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    if settings.get("add_prefix_space") is False:
        normal.add_dummy_prefix = False
    if trained.treat_whitespace_as_suffix or not normal.escape_whitespaces:
        raise _refused(path.parent, f"{path.name} treats spaces in a way that is not converted")
    kinds = type(proto).SentencePiece
    pieces = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    scores = [piece.score for piece in proto.pieces]
    unknown = next((p.piece for p in proto.pieces if p.type == kinds.UNKNOWN), None)
    normal_pieces = [n for n, p in enumerate(proto.pieces) if p.type == kinds.NORMAL]
    prefix = bool(normal.add_dummy_prefix)
    if trained.model_type != trained.BPE:
        # A unigram model has ties (5 55 or 55 5), which float32 and float64 sums break differently.
        raise _refused(
            path.parent, f"{path.name} is no BPE, the only kind that is converted exactly"
        )
    tokenizer = sentencepiece_bpe(
        pieces,
        merges_by_score(pieces, scores, normal_pieces),
        unknown=unknown,
        prefix=prefix,
        charsmap=bytes(normal.precompiled_charsmap),
        remove_extra_spaces=bool(normal.remove_extra_whitespaces),
        whole=[piece.piece for piece in proto.pieces if piece.type == kinds.USER_DEFINED],
    )
    for piece in proto.pieces:
        if piece.type in (kinds.CONTROL, kinds.UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(piece.piece, special=True, normalized=False)])
    reference = SentencePieceProcessor(model_proto=proto.SerializeToString())
    own = [p.piece for p in proto.pieces if p.type in (kinds.NORMAL, kinds.USER_DEFINED)]
    texts = [*checked_texts(own), *(piece.replace("\u2581", " ") for piece in own)]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    for text, found in zip(texts, encodings, strict=True):
        if reference.encode(text) != found.ids:
            raise _refused(
                path.parent,
                f"{path.name} cannot be converted exactly: {text!r} is {reference.encode(text)} in"
                f" it and {found.ids} when converted",
            )
    names = {"bos_token": trained.bos_piece, "eos_token": trained.eos_piece}
    names |= {"unk_token": trained.unk_piece}
    return tokenizer, {key: name for key, name in names.items() if name in pieces}


def checked_texts(pieces: list[str]) -> list[str]:
    """`CHECKED_TEXTS` texts made of ``pieces``, with spaces, lines, digits and foreign characters.

    The same ones for the same pieces.
    """
    draw = random.Random(0)
    between = [
        "",
        "",
        "",
        " ",
        "  ",
        "\n",
        "\t",
        "12",
        " 3.5",
        "\u00e9",
        "\u4e2d",
        "\U0001f600",
        "\u2009",
        # One grapheme, of which `tokenizers` normalises the first character alone.
        "\r\n",
    ]
    texts = ["", " ", "a", " a", "  a ", "\n\n1. a", "Hello world", "x = [1, 2]\n    return x"]
    while len(texts) < CHECKED_TEXTS:
        drawn = (draw.choice(pieces).replace("\u2581", " ") for _ in range(draw.randint(1, 12)))
        texts.append("".join(piece + draw.choice(between) for piece in drawn))
    return texts


# ----------------------------------------------------------------------------------- byte-level BPE


def _byte_level(folder: Path, named_class: str | None, settings: Mapping[str, Any]) -> Any:
    from tokenizers import normalizers

    from counterpoint.models.tokenizers.byte_level import GPT2, QWEN2, byte_level_bpe

    merges_file = folder / "merges.txt"
    if not merges_file.is_file():
        raise _refused(folder, "vocab.json stands without merges.txt")
    try:
        vocabulary = parsed_json((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = merges_file.read_text(encoding="utf-8").split("\n")
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        merges = [(first, second) for first, second in pairs]
        if named_class in GPT2_CLASSES:
            if settings.get("add_prefix_space"):
                raise _refused(
                    folder,
                    "add_prefix_space means one thing in the class's slow form (always a space) and"
                    " another in its fast form (unless there is one)",
                )
            _check_cut(folder, vocabulary, merges)
            return byte_level_bpe(vocabulary, merges, [GPT2])
        if named_class == "Qwen2Tokenizer":
            tokenizer = byte_level_bpe(vocabulary, merges, [QWEN2])
            tokenizer.normalizer = normalizers.NFC()
            return tokenizer
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions
        raise UserError(
            f"{folder}: vocab.json and merges.txt do not fit each other or are damaged ({error})."
            " Download both again."
        ) from None
    raise _refused(
        folder,
        "vocab.json and merges.txt do not say how texts are cut before they are merged (tokenizer"
        f" class: {named_class or 'none named'})",
    )


def _check_cut(folder: Path, vocabulary: Mapping[str, int], merges: list[tuple[str, str]]) -> None:
    """Raise UserError where the vocabulary cannot come from texts cut as GPT-2 cuts them."""
    from tokenizers import Regex, pre_tokenizers

    from counterpoint.models.tokenizers.byte_level import GPT2, text_of

    cut = pre_tokenizers.Split(Regex(GPT2), "isolated")
    several_digits = False
    for first, second in merges:
        text = text_of(first + second)
        if text is None:
            continue
        if len(cut.pre_tokenize_str(text)) > 1:
            raise _refused(
                folder,
                f"its class cuts texts as GPT-2 does, but the vocabulary has the token {text!r},"
                " which is then two pieces: the model was made with another way of cutting",
            )
        several_digits |= sum(character.isdigit() for character in text) > 1
    if len(merges) >= ENOUGH_MERGES and not several_digits:
        raise _refused(
            folder,
            f"its class cuts texts as GPT-2 does, but none of {len(merges)} merges joins two"
            " digits: the model was made with single digits, as StarCoder and SmolLM were",
        )


# ---------------------------------------------------------------------------------------- WordPiece


def _word_piece(folder: Path, named_class: str | None, settings: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    if named_class != "BertTokenizer":
        raise _refused(folder, f"vocab.txt is not read as the class {named_class} would")
    for key in ("do_basic_tokenize", "never_split"):
        if settings.get(key, True) not in (True, None, []):
            raise _refused(folder, f"{key} of tokenizer_config.json is not converted")
    try:
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise UserError(f"{folder}: vocab.txt is not UTF-8 ({error}). Download it again.") from None
    if lines and not lines[-1]:
        lines.pop()
    vocabulary = {line.rstrip("\r"): number for number, line in enumerate(lines)}
    unknown = str(settings.get("unk_token") or "[UNK]")
    if unknown not in vocabulary:
        raise _refused(folder, f"vocab.txt has no token {unknown} for unknown words")
    model: Any = models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer
