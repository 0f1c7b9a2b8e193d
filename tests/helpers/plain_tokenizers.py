"""Tokenizers as their papers describe them, slow and plain: what the fast ones are compared with.

They share no code with Counterpoint or with the `tokenizers` library; patterns run in the `regex`
package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import regex

Encode = Callable[[str], list[int]]


def spelling() -> dict[int, str]:
    """GPT-2's spelling of bytes (encoder.py of openai/gpt-2): the printable ones are themselves."""
    table, extra = {}, 0
    for byte in range(256):
        if chr(byte).isprintable() and byte not in (0x20, 0xA0, 0xAD) and byte < 256:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def cut(text: str, patterns: Sequence[str]) -> list[str]:
    """``text`` in pieces: the matches of each pattern in turn, and what lies between them."""
    pieces = [text]
    for pattern in patterns:
        rule, finer = regex.compile(pattern), []
        for piece in pieces:
            end = 0
            for match in rule.finditer(piece):
                if match.end() > match.start():
                    finer += [piece[end : match.start()], match.group()]
                    end = match.end()
            finer.append(piece[end:])
        pieces = [piece for piece in finer if piece]
    return pieces


def merge_by(parts: list[str], worth: Callable[[str, str], float | None]) -> list[str]:
    """Join neighbours, those of the smallest worth first and of these the leftmost."""
    while len(parts) > 1:
        found = [(worth(a, b), place) for place, (a, b) in enumerate(pairwise(parts))]
        known = [each for each in found if each[0] is not None]
        if not known:
            break
        _, place = min(known)
        parts = [*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]]
    return parts


def byte_level(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    patterns: Sequence[str],
    *,
    whole: bool = False,
    special: Sequence[str] = (),
) -> Encode:
    """Byte-level BPE (Sennrich et al. 2016, over bytes); ``special`` texts are found first."""
    rank = {pair: number for number, pair in reversed(list(enumerate(merges)))}
    spelt = spelling()

    def encode(text: str) -> list[int]:
        ids = []
        for piece in cut(text, patterns):
            word = "".join(spelt[byte] for byte in piece.encode())
            if whole and word in vocabulary:
                ids.append(vocabulary[word])
            else:
                parts = merge_by(list(word), lambda a, b: rank.get((a, b)))
                ids += [vocabulary[part] for part in parts]
        return ids

    return around(special, vocabulary, encode)


def around(special: Sequence[str], vocabulary: Mapping[str, int], encode: Encode) -> Encode:
    """``encode`` for what stands between the texts ``special``, the longer of which come first."""
    if not special:
        return encode
    kept = sorted(special, key=len, reverse=True)
    between = regex.compile("(" + "|".join(map(regex.escape, kept)) + ")")
    known = set(kept)

    def whole(text: str) -> list[int]:
        ids: list[int] = []
        for part in between.split(text):
            ids += [vocabulary[part]] if part in known else encode(part)
        return ids

    return whole


def sentencepiece(
    pieces: Sequence[str], scores: Sequence[float], usable: Sequence[bool], *, prefix: bool
) -> Encode:
    """SentencePiece's BPE: join what makes the piece of the highest score; the rest as bytes."""
    ids = {piece: number for number, piece in enumerate(pieces)}
    score = {p: -scores[number] for p, number in ids.items() if usable[number]}

    def encode(text: str) -> list[int]:
        if not text:
            return []
        spaced = (" " if prefix else "") + text
        found: list[int] = []
        for part in merge_by(list(spaced.replace(" ", "\u2581")), lambda a, b: score.get(a + b)):
            if part in score:
                found.append(ids[part])
            else:
                found += [ids[f"<0x{byte:02X}>"] for byte in part.encode()]
        return found

    return encode


def word_piece(vocabulary: Mapping[str, int], unknown: str) -> Encode:
    """BERT's WordPiece on texts of ASCII letters, digits, punctuation and spaces, lower case."""

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for word in regex.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower()):
            begin, found = 0, []
            while begin < len(word):
                ends = range(len(word), begin, -1)
                pieces = (("##" if begin else "") + word[begin:end] for end in ends)
                piece = next((piece for piece in pieces if piece in vocabulary), None)
                if piece is None:
                    found = [vocabulary[unknown]]
                    break
                found.append(vocabulary[piece])
                begin += len(piece) - (2 if begin else 0)
            ids += found
        return ids

    return encode
