"""Tokenizers whose whole words are known, made on the spot, in the styles of real ones."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

Style = Literal["bytes, single digits", "bytes", "sentencepiece"]
SPECIAL = ("<unk>", "<bos>", "<eos>")


def make_tokenizer(
    words: Iterable[str], *, style: Style = "bytes, single digits", bos: bool = True
) -> PreTrainedTokenizerFast:
    """A tokenizer in which each of `words` is one token; all other text is letters or beginnings.

    Each word is built from its first letter on, so a merge never fires in the middle of another
    word. The byte-level styles are those of SmolLM2, where digits stand singly, and of GPT-2;
    `sentencepiece` is that of Llama 2, which puts a space before the text by itself.
    """
    sentencepiece = style == "sentencepiece"
    space = "▁" if sentencepiece else "Ġ"
    letters = string.printable if sentencepiece else ""
    vocabulary = [*SPECIAL, *sorted({*pre_tokenizers.ByteLevel.alphabet(), *letters, space})]
    known = set(vocabulary)
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(words):
        spelled = word.replace(" ", space)
        for end in range(2, len(spelled) + 1):
            if spelled[:end] not in known:
                known.add(spelled[:end])
                vocabulary.append(spelled[:end])
                merges.append((spelled[: end - 1], spelled[end - 1]))
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(numbers, merges))
    if sentencepiece:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend(space), normalizers.Replace(" ", space)]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace(space, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    else:
        split = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
        if style == "bytes, single digits":
            split = [pre_tokenizers.Digits(individual_digits=True), *split]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    special = {"bos_token": "<bos>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", **special)
