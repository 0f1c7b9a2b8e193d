"""Byte-level BPE: how a text is cut before merges, and what a vocabulary tells about that.

A vocabulary and its merges do not say how texts are cut into pieces first. The patterns here are
those of GPT-2 (Radford et al. 2019, encoder.py of openai/gpt-2) and of Qwen2's `tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def byte_spelling() -> dict[int, str]:
    """How a byte-level vocabulary writes each byte: as itself where it is a visible character."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (byte for byte in range(256) if byte not in visible)
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + number) for number, byte in enumerate(hidden)
    }


@cache
def _bytes_of() -> dict[str, int]:
    return {character: byte for byte, character in byte_spelling().items()}


def text_of(token: str) -> str | None:
    """The text that a token in the spelling of bytes stands for; None for part of a character."""
    known = _bytes_of()
    if any(character not in known for character in token):
        return None
    try:
        return bytes(known[character] for character in token).decode("utf-8")
    except UnicodeDecodeError:
        return None


def byte_level_bpe(
    vocabulary: Mapping[str, int],
    merges: Iterable[tuple[str, str]],
    patterns: Sequence[str],
    *,
    ignore_merges: bool = False,
) -> Tokenizer:
    """The tokenizer that cuts texts by each of ``patterns`` in turn and then merges bytes.

    A pattern's matches and what lies between them are pieces; later patterns cut these further.
    ``ignore_merges``: a piece that is a token is one, whatever its merges would make of it.
    """
    model: Any = models.BPE(dict(vocabulary), list(merges), ignore_merges=ignore_merges)
    tokenizer = Tokenizer(model)
    steps: list[Any] = [pre_tokenizers.Split(Regex(each), "isolated") for each in patterns]
    spelt = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, spelt])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
