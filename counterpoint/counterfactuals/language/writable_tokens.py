"""Which tokens a search may write, and which pairs it may keep.

A prompt is a text: its tokens must be those that the tokenizer makes of it (*round trip*), or no
one could run the pair again. Special tokens are never written and never count as an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel


class Vocabulary:
    """The tokenizer as seen by a search; ``start`` is a prompt's token ids."""

    def __init__(self, model: LanguageModel, start: Sequence[int]) -> None:
        self.model = model
        texts = _texts(model)
        device = model.device
        named = min(model.d_vocab, len(model.tokenizer))
        self.plain: Bool[Tensor, " token"] = torch.zeros(model.d_vocab, dtype=torch.bool)
        self.plain[:named] = True
        self.plain[[i for i in model.tokenizer.all_special_ids if i < model.d_vocab]] = False
        self.plain = self.plain.to(device)
        """Tokens that can be an answer: all but the special ones."""
        self.allowed: Bool[Tensor, " token"] = self.plain & _free_standing(model, start).to(device)
        """Tokens that may be written: the plain ones that round-trip between two tokens of the
        start prompt, and no line break where the start has none."""
        if not any("\n" in texts[token] for token in start):
            breaks = torch.tensor(["\n" in text for text in texts], device=device)
            self.allowed = self.allowed & ~breaks
        numbers: dict[str, int] = {}
        self.word: Int[Tensor, " token"] = torch.tensor(
            [numbers.setdefault(text.strip().lower(), len(numbers)) for text in texts],
            device=device,
        )
        """A number for each token that forms of one word share, with or without space or
        capital."""

    def round_trips(self, ids: Sequence[int]) -> bool:
        """Whether the tokenizer makes ``ids`` again of their text."""
        return self.model.encode(self.model.decode(list(ids))) == list(ids)

    def inside(
        self,
        answer: Int[Tensor, " pair"],
        prompt: Int[Tensor, "pair length"],
        origin: Int[Tensor, "start length"] | None = None,
    ) -> Bool[Tensor, " pair"]:
        """Whether each answer is, as a word, among the tokens of the prompt.

        Tokens that ``origin`` has at the same position do not count.
        """
        same = self.word[prompt] == self.word[answer][:, None]
        if origin is not None:
            same = same & (prompt[:, None, :] != origin).all(1)
        return same.any(-1)

    def answer(self, text: str) -> int:
        """The one token of a declared answer. Raises UserError when it is not one token."""
        ids = self.model.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise UserError(
                f"counterfactuals.answers: {text!r} is {len(ids)} tokens in this model's tokenizer;"
                " expected one. Most answers need their leading space."
            )
        return int(ids[0])


def decoded(model: LanguageModel, rows: list[list[int]]) -> list[str]:
    """The text of each row. A fast tokenizer's own batches take a tenth of the time."""
    fast = getattr(model.tokenizer, "backend_tokenizer", None)
    if fast is None:
        return list(model.tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False))
    return list(fast.decode_batch(rows, skip_special_tokens=False))


def encoded(model: LanguageModel, texts: list[str]) -> list[list[int]]:
    """The tokens of each text, no special ones added."""
    fast = getattr(model.tokenizer, "backend_tokenizer", None)
    if fast is None:
        return list(model.tokenizer(texts, add_special_tokens=False)["input_ids"])
    # As transformers has it, which sets both anew for every batch.
    fast.no_padding()
    fast.no_truncation()
    return [one.ids for one in fast.encode_batch_fast(texts, add_special_tokens=False)]


def _texts(model: LanguageModel) -> list[str]:
    named = min(model.d_vocab, len(model.tokenizer))
    texts = decoded(model, [[token] for token in range(named)])
    # Ids without a name (a padded embedding) share no word with any token.
    return texts + [f"\0{token}" for token in range(named, model.d_vocab)]


def _free_standing(model: LanguageModel, start: Sequence[int]) -> Bool[Tensor, " token"]:
    """Tokens t for which "before t after" round-trips, with before and after from ``start``."""
    named = min(model.d_vocab, len(model.tokenizer))
    before, after = start[-2:-1], start[-1:]
    wanted = [[*before, token, *after] for token in range(named)]
    made = encoded(model, decoded(model, wanted))
    free = torch.zeros(model.d_vocab, dtype=torch.bool)
    free[:named] = torch.tensor([one == other for one, other in zip(made, wanted, strict=True)])
    return free
