"""Compare token ids with an independent implementation: `make tokens ARGS="FOLDER FILE.gguf"`.

For each model folder or GGUF file, the ids of `TEXTS` generated texts by Counterpoint and by a
plain implementation (tests/helpers/plain_tokenizers.py, with the `regex` package) or, for a
`tokenizer.model`, by the sentencepiece library. One line each; exit status 1 where ids differ.
"""

from __future__ import annotations

import argparse
import json
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from counterpoint.models.gguf.gguf_metadata import read_metadata
from counterpoint.models.gguf.gguf_patterns import CUTS
from counterpoint.models.gguf.gguf_tokenizer import gguf_tokenizer
from counterpoint.models.tokenizers.byte_level import GPT2
from counterpoint.models.tokenizers.tokenizer import load_tokenizer
from tests.helpers import plain_tokenizers as plain
from tests.helpers.token_corpus import corpus

TEXTS = 6000
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4


def patterns_of(step: Mapping[str, Any] | None) -> list[str]:
    """The patterns of a byte-level pre-tokenizer of `tokenizer.json`, in turn."""
    match step:
        case None:
            return []
        case {"type": "Sequence", "pretokenizers": steps}:
            return [pattern for each in steps for pattern in patterns_of(each)]
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}:
            return [pattern]
        # A pattern whose matches are kept and nothing else: the rest is removed, or there is none.
        case {"type": "Split", "pattern": {"Regex": pattern}, "invert": True}:
            return [pattern]
        case {"type": "Digits", "individual_digits": True}:
            return [r"\p{N}"]
        case {"type": "Digits"}:
            return [r"\p{N}+"]
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return [GPT2] if step.get("use_regex", True) else []
    raise NotImplementedError(f"the pre-tokenizer {step} has no plain form here")


def of_json(data: Mapping[str, Any]) -> plain.Encode:
    """The plain form of a `tokenizer.json`."""
    model, normaliser = data["model"], data.get("normalizer")
    vocabulary = dict(model["vocab"])
    added = {token["content"]: token["id"] for token in data["added_tokens"]}
    if model.get("type") == "WordPiece":
        return plain.word_piece(vocabulary, model["unk_token"])
    form = None
    if normaliser and normaliser != {"type": "Sequence", "normalizers": []}:
        form = normaliser["type"]
        if form not in ("NFC", "NFKC"):
            raise NotImplementedError(f"the normaliser {normaliser} has no plain form here")
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
    encode = plain.byte_level(
        vocabulary | added,
        merges,
        patterns_of(data["pre_tokenizer"]),
        whole=bool(model.get("ignore_merges")),
        special=list(added),
    )
    return encode if form is None else lambda text: encode(unicodedata.normalize(form, text))


def of_gguf(data: Mapping[str, Any]) -> plain.Encode:
    """The plain form of a GGUF file's tokenizer."""
    tokens = data["tokenizer.ggml.tokens"]
    types = data["tokenizer.ggml.token_type"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if data["tokenizer.ggml.model"] == "llama":
        encode = plain.sentencepiece(
            tokens,
            data["tokenizer.ggml.scores"],
            [kind == NORMAL for kind in types],
            prefix=bool(data.get("tokenizer.ggml.add_space_prefix", True)),
        )
        found = [t for t, kind in zip(tokens, types, strict=True) if kind == USER_DEFINED]
        return plain.around(found, vocabulary, encode)
    if data["tokenizer.ggml.model"] != "gpt2":
        raise NotImplementedError(f"{data['tokenizer.ggml.model']} has no plain form here")
    cut = CUTS[data["tokenizer.ggml.pre"]]
    marked = (UNKNOWN, CONTROL, USER_DEFINED)
    return plain.byte_level(
        vocabulary,
        [(m[: m.index(" ", 1)], m[m.index(" ", 1) + 1 :]) for m in data["tokenizer.ggml.merges"]],
        cut.patterns,
        whole=cut.whole,
        special=[t for t, kind in zip(tokens, types, strict=True) if kind in marked],
    )


def compare(path: Path, texts: list[str]) -> tuple[str, int, int]:
    """What the ids were compared with, the number of texts, and of those that differ."""
    reference: Callable[[str], list[int]]
    if path.is_file():
        tokenizer, reference, name = gguf_tokenizer(path), of_gguf(read_metadata(path)), "plain"
    elif (path / "tokenizer.json").is_file():
        data = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer, reference, name = load_tokenizer(path), of_json(data), "plain"
        if data["model"].get("type") == "WordPiece":
            texts = [text for text in texts if text.isascii()]
    else:
        from sentencepiece import SentencePieceProcessor

        tokenizer, name = load_tokenizer(path), "sentencepiece"
        reference = SentencePieceProcessor(model_file=str(path / "tokenizer.model")).encode
    found = tokenizer(texts, add_special_tokens=False)["input_ids"]
    different = [t for t, ids in zip(texts, found, strict=True) if list(ids) != reference(t)]
    for text in different[:3]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        print(f"    {text!r}: {ids} where {name} has {reference(text)}")
    return name, len(texts), len(different)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--texts", type=int, default=TEXTS)
    arguments = parser.parse_args()
    wrong = 0
    for path in arguments.paths:
        begin = time.perf_counter()
        try:
            name, n, different = compare(path, corpus(arguments.texts, seed=8))
        except NotImplementedError as reason:
            print(f"{path}: not compared: {reason}", flush=True)
            continue
        wrong += different > 0
        took = time.perf_counter() - begin
        print(f"{path}: {n} texts, {different} differ from {name} ({took:.0f} s)", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
