"""Byte-level tokenizers whose whole words are known, made on the spot."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPACE = "Ġ"  # how byte-level tokenizers spell a space


def make_tokenizer(
    words: Iterable[str], *, single_digits: bool = True, bos: bool = True
) -> PreTrainedTokenizerFast:
    """A tokenizer in which each of `words` is one token; all other text is bytes or beginnings.

    Each word is built from its first letter on, so a merge never fires in the middle of another
    word. With `single_digits`, digits stand alone whatever the words.
    """
    vocabulary = ["<unk>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(words):
        spelled = word.replace(" ", SPACE)
        for end in range(1, len(spelled)):
            merge = (spelled[:end], spelled[end])
            if merge not in merges:
                merges.append(merge)
                vocabulary.append(spelled[: end + 1])
    numbers = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.BPE(numbers, merges))
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_])
        if single_digits
        else bytes_
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in vocabulary[:3]])
    special = {"bos_token": "<bos>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", **special)
