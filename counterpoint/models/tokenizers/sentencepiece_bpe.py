"""SentencePiece's tokens in the `tokenizers` library: normaliser, merges, bytes, decoder.

SentencePiece's BPE (Kudo and Richardson 2018, bpe_model.cc) has no list of merges: of all pairs of
neighbours that together are a piece it joins the one with the highest score, the leftmost first.
Merges in order of score do the same wherever each character of a piece is a piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPACE = "\u2581"
"""The character that stands for a space."""
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def merges_by_score(
    pieces: Mapping[str, int], scores: Sequence[float], usable: Iterable[int]
) -> list[tuple[str, str]]:
    """Merges that build the pieces whose ids are ``usable``, those of the highest score first.

    ``pieces`` gives the id of each piece and ``scores`` the score of each id.
    """
    parts = set(usable)
    found: list[tuple[float, int, int, tuple[str, str]]] = []
    for piece, number in pieces.items():
        if number not in parts or len(piece) < 2:
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if pieces.get(left) in parts and pieces.get(right) in parts:
                found.append((-scores[number], number, -cut, (left, right)))
    found.sort(key=lambda each: each[:3])
    return [pair for *_, pair in found]


def unreachable(pieces: Mapping[str, int], usable: Iterable[int]) -> str | None:
    """A usable piece that merges cannot build, as a character of it is no piece itself; or None."""
    parts = set(usable)
    letters = {piece for piece, number in pieces.items() if number in parts and len(piece) == 1}
    for piece, number in pieces.items():
        if number in parts and len(piece) > 1 and not letters.issuperset(piece):
            return piece
    return None


def normaliser(
    *, prefix: bool, charsmap: bytes = b"", remove_extra_spaces: bool = False
) -> normalizers.Normalizer:
    """What SentencePiece does to a text before it looks for pieces; spaces become `SPACE`."""
    steps: list[Any] = []
    if charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    if remove_extra_spaces:
        steps.append(normalizers.Replace(Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    return normalizers.Sequence(steps)


def decoder(*, prefix: bool) -> decoders.Decoder:
    """From tokens to text: spaces, bytes, and without the space that `normaliser` put in front."""
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def sentencepiece_bpe(
    pieces: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    unknown: str | None,
    prefix: bool,
    charsmap: bytes = b"",
    remove_extra_spaces: bool = False,
    whole: Sequence[str] = (),
) -> Tokenizer:
    """A tokenizer of ``pieces``; characters that are none become bytes where all 256 are pieces.

    ``whole`` are pieces that are found before anything is merged, the longer ones first, within the
    text as it is normalised (as added tokens they would each begin a text with a space of its own).
    """
    model: Any = models.BPE(
        dict(pieces),
        list(merges),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=all(byte in pieces for byte in BYTES),
        ignore_merges=bool(whole),
    )
    tokenizer = Tokenizer(model)
    if whole:
        found = "|".join(re.escape(piece) for piece in sorted(whole, key=len, reverse=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(found), "isolated")
    tokenizer.normalizer = normaliser(
        prefix=prefix, charsmap=charsmap, remove_extra_spaces=remove_extra_spaces
    )
    tokenizer.decoder = decoder(prefix=prefix)
    return tokenizer
