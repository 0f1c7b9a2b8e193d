"""The tokenizer of a GGUF file, from the tokens, merges, scores and types that it holds.

`tokenizer.ggml.model` names the algorithm (`gpt2`: byte-level BPE, `llama`: SentencePiece's BPE,
`gemma4`: BPE of characters), `tokenizer.ggml.pre` the way of cutting texts (`gguf_patterns`). What
they mean is llama.cpp's convention. What is not known is refused by name: a guess would give other
tokens that still come back as the same text.

As llama.cpp does, nothing is normalised (Qwen's own tokenizer composes accents first).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.models.gguf.gguf_metadata import read_metadata
from counterpoint.models.gguf.gguf_patterns import CUTS, Cut

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Values of `tokenizer.ggml.token_type`."""
SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",
    "pad_token": "padding_token_id",
    "mask_token": "mask_token_id",
}
"""transformers' names of special tokens, and the ends of GGUF's keys (one is spelled so)."""
SENTENCEPIECE_DEFAULTS = {"bos_token": 1, "eos_token": 2, "unk_token": 0}
"""Ids of special tokens that a `llama` file need not name."""
CONTRACTION_ENDS = frozenset("stemld")
"""Letters after which a pattern may cut within a word: 's 't 're 've 'm 'll 'd."""

KNOWN = frozenset(
    (
        *("model", "pre", "tokens", "token_type", "token_type_count", "scores", "merges"),
        *("add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix"),
        *("remove_extra_whitespaces", "precompiled_charsmap"),
    )
)
"""Ends of the keys of tokenizer.ggml that are known; any that names a token's id is, too."""

REMEDY = (
    "Convert the model again with a current llama.cpp, or save it with save_pretrained where it was"
    " made (with its tokenizer.json) and use the source `local`."
)


def gguf_tokenizer(
    path: str | os.PathLike[str], described: str | None = None
) -> PreTrainedTokenizerFast:
    """Return the tokenizer that the GGUF file ``path`` holds; messages call the file ``described``.

    Control tokens are special ones; user-defined tokens are found whole in a text. Beginning and
    end of sequence are those of the file, as is whether it adds them (`add_bos_token`).
    Raises UserError for a file without a tokenizer, one of an algorithm or a way of cutting that is
    not known, and one whose tables do not fit each other.
    """
    file = described or os.fspath(path)
    every = read_metadata(path, file)
    prefix = "tokenizer.ggml."
    data = {
        key.removeprefix(prefix): value for key, value in every.items() if key.startswith(prefix)
    }
    _refuse_unknown(file, data)
    tokens = data.get("tokens")
    if not tokens:
        raise UserError(f"{file} holds no tokens (tokenizer.ggml.tokens). {REMEDY}")
    # llama.cpp's own name for tokens without a text, which would otherwise be one.
    tokens = [token or f"[EMPTY_{number}]" for number, token in enumerate(tokens)]
    twice = next((token for token, times in Counter(tokens).items() if times > 1), None)
    if twice is not None:
        raise UserError(f"{file} has the token {twice!r} more than once. {REMEDY}")
    types = data.get("token_type") or [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise UserError(
            f"{file} has {len(tokens)} tokens and {len(types)} types of tokens. {REMEDY}"
        )
    kind = data.get("model")
    try:
        match kind:
            case "gpt2":
                backend = _byte_level(file, data, tokens, types)
            case "llama":
                backend = _sentencepiece(file, data, tokens, types)
            case "gemma4":
                backend = _characters(file, data, tokens)
            case _:
                raise UserError(
                    f"{file}: its tokenizer is of the kind {kind!r} (tokenizer.ggml.model), which"
                    f" is not known; expected gpt2, llama or gemma4. {REMEDY}"
                )
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions
        raise UserError(f"{file}: its tokens do not fit each other ({error}). {REMEDY}") from None
    special = _special_tokens(file, data, tokens, kind)
    _add_tokens(backend, tokens, types, special)
    from counterpoint.models.tokenizers.tokenizer import build

    settings: dict[str, Any] = dict(special)
    for key in ("add_bos_token", "add_eos_token"):
        if data.get(key) is not None and special.get(key.removeprefix("add_")) is not None:
            settings[key] = bool(data[key])
    if every.get("tokenizer.chat_template"):
        settings["chat_template"] = every["tokenizer.chat_template"]
    return build(backend, settings, name=os.fspath(path))


def _refuse_unknown(file: str, data: Mapping[str, Any]) -> None:
    """Raise UserError for settings that may change the tokens of a text in a way not known here."""
    named = [key for key in data if key not in KNOWN and not key.endswith(("_id", "_ids"))]
    # llama.cpp applies these two to no kind of tokenizer that is read here.
    named += [key for key in ("remove_extra_whitespaces", "precompiled_charsmap") if data.get(key)]
    if named:
        raise UserError(
            f"{file}: what {', '.join(f'tokenizer.ggml.{key}' for key in named[:4])} would do to a"
            f" text before it is cut into tokens is not known. {REMEDY}"
        )


# --------------------------------------------------------------------------------------- algorithms


def _byte_level(
    file: str, data: Mapping[str, Any], tokens: Sequence[str], types: Sequence[int]
) -> Tokenizer:
    from counterpoint.models.tokenizers.byte_level import byte_level_bpe

    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = _merges(file, data)
    cut = _cut(file, data.get("pre"), merges)
    prefix = bool(data.get("add_space_prefix", False))
    if prefix:
        raise UserError(
            f"{file}: a byte-level tokenizer that puts a space in front of a text"
            f" (tokenizer.ggml.add_space_prefix) is not known. {REMEDY}"
        )
    return byte_level_bpe(vocabulary, merges, cut.patterns, ignore_merges=cut.whole)


def _merges(file: str, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    merges = data.get("merges")
    if merges is None:
        raise UserError(f"{file} holds no merges (tokenizer.ggml.merges). {REMEDY}")
    found: dict[tuple[str, str], None] = {}
    for merge in merges:
        # The first part may be a space itself, so the parting space is sought from the second
        # character on.
        place = merge.find(" ", 1)
        if place < 0:
            raise UserError(f"{file}: the merge {merge!r} is not two tokens. {REMEDY}")
        found.setdefault((merge[:place], merge[place + 1 :]))
    return list(found)


def _cut(file: str, name: str | None, merges: Sequence[tuple[str, str]]) -> Cut:
    cut = CUTS.get(name or "")
    if cut is not None:
        return cut
    if not _cutting_matters(merges):
        return CUTS["gpt-2"]
    said = f"{name!r} is not known" if name else "is not there"
    raise UserError(
        f"{file}: tokenizer.ggml.pre, which names how texts are cut into pieces before they are"
        f" merged, {said}; a guess would give other tokens than the model was made with. Known are"
        f" {', '.join(CUTS)}. {REMEDY}"
    )


def _cutting_matters(merges: Sequence[tuple[str, str]]) -> bool:
    """Whether some way of cutting keeps a merge from happening that another one allows.

    Every way of cutting keeps small ASCII letters together, except after a contraction.
    """
    return not all(
        (first + second).isascii()
        and (first + second).isalpha()
        and (first + second).islower()
        and CONTRACTION_ENDS.isdisjoint((first + second)[:-1])
        for first, second in merges
    )


def _sentencepiece(
    file: str, data: Mapping[str, Any], tokens: Sequence[str], types: Sequence[int]
) -> Tokenizer:
    from counterpoint.models.tokenizers.sentencepiece_bpe import (
        merges_by_score,
        sentencepiece_bpe,
        unreachable,
    )

    scores = data.get("scores")
    if scores is None or len(scores) != len(tokens):
        raise UserError(f"{file} holds no score for each token (tokenizer.ggml.scores). {REMEDY}")
    pieces = {token: number for number, token in enumerate(tokens)}
    usable = [number for number, kind in enumerate(types) if kind in (NORMAL, UNUSED)]
    long = {scores[number] for number in usable if len(tokens[number]) > 1}
    if len(long) == 1 and sum(len(tokens[number]) > 1 for number in usable) > 1:
        raise UserError(
            f"{file}: all its tokens have the score {long.pop()}, so the order of their merges is"
            f" not known. {REMEDY}"
        )
    stray = unreachable(pieces, usable)
    if stray is not None:
        raise UserError(
            f"{file}: the token {stray!r} has a character that is no token itself, so that merges"
            f" cannot build it. {REMEDY}"
        )
    unknown = next((tokens[n] for n, kind in enumerate(types) if kind == UNKNOWN), None)
    return sentencepiece_bpe(
        pieces,
        merges_by_score(pieces, scores, usable),
        unknown=unknown,
        prefix=bool(data.get("add_space_prefix", True)),
    )


def _characters(file: str, data: Mapping[str, Any], tokens: Sequence[str]) -> Tokenizer:
    """Gemma 4: merges of characters within a line, spaces among them; unknown ones are bytes."""
    from tokenizers import Regex, pre_tokenizers

    from counterpoint.models.tokenizers.sentencepiece_bpe import sentencepiece_bpe

    pieces = {token: number for number, token in enumerate(tokens)}
    tokenizer = sentencepiece_bpe(pieces, _merges(file, data), unknown=None, prefix=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n+"), "isolated")
    return tokenizer


# ----------------------------------------------------------------------------------- special tokens


def _special_tokens(
    file: str, data: Mapping[str, Any], tokens: Sequence[str], kind: str
) -> dict[str, str]:
    found = {}
    for name, key in SPECIAL.items():
        number = data.get(key)
        if number is None and kind == "llama":
            number = SENTENCEPIECE_DEFAULTS.get(name)
        if number is None:
            continue
        if not 0 <= number < len(tokens):
            raise UserError(
                f"{file}: tokenizer.ggml.{key} is {number}, and there are {len(tokens)} tokens."
                f" {REMEDY}"
            )
        found[name] = tokens[number]
    return found


def _add_tokens(
    backend: Tokenizer, tokens: Sequence[str], types: Sequence[int], special: Mapping[str, str]
) -> None:
    from tokenizers import AddedToken

    from counterpoint.models.tokenizers.special_tokens import is_ordinary

    # A token that is named for padding, say, and is an ordinary one (id 0) stays one.
    named = {token for token in special.values() if not is_ordinary(token, backend)}
    control = [
        token
        for token, kind in zip(tokens, types, strict=True)
        if kind in (CONTROL, UNKNOWN) or token in named
    ]
    whole = [
        token
        for token, kind in zip(tokens, types, strict=True)
        if kind == USER_DEFINED and token not in named
    ]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    backend.add_tokens([AddedToken(t, special=False, normalized=False) for t in whole])
