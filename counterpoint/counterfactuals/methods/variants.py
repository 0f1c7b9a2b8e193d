"""Variants: prompts that differ from each other in few tokens, every two of which may be a pair.

The model proposes: a token is written where the model finds it likely, and sentences and tails are
its own samples. `Moves` makes variants from a sentence or from a pair; each costs few evaluations.
A batch of variants is the unit in which `fluent` and the `atlas` search (see
`first_order_estimates`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.head_path import TargetRun
from counterpoint.counterfactuals.language.opening_texts import VARIED
from counterpoint.counterfactuals.language.sampling import perturbed
from counterpoint.counterfactuals.methods.continuous_pairs import Relaxation
from counterpoint.counterfactuals.methods.method_settings import VariantSettings
from counterpoint.counterfactuals.methods.proposals import Proposals, without
from counterpoint.counterfactuals.problem import Target

Prompt = tuple[int, ...]

GRADIENTS_KEPT = 32
"""Pairs and heads whose gradient is remembered."""


@dataclass(frozen=True, eq=False)
class Variants:
    """Prompts of one length that share their beginning, and the sentences each came from.

    A token that one of these has at the same place was not written by the search.
    """

    prompts: Int[Tensor, "prompt length"]
    origin: Int[Tensor, "sentence prompt length"]


@dataclass(frozen=True)
class Parent:
    """A pair that differs in few tokens, and the sentence, or given pair, that it came from."""

    clean: Prompt
    corrupted: Prompt
    origin: tuple[Prompt, ...]

    @property
    def places(self) -> list[int]:
        """The positions of the edit."""
        both = zip(self.clean, self.corrupted, strict=True)
        return [place for place, (one, other) in enumerate(both) if one != other]


class Moves:
    """Ways of making variants, on the ledger of ``evaluator``."""

    def __init__(self, evaluator: Evaluator, propose: Proposals, own: VariantSettings) -> None:
        self.evaluator, self.propose, self.own = evaluator, propose, own
        self.model, self.device = evaluator.model, evaluator.model.device
        self.relaxed = Relaxation(evaluator)
        self.first = 2 if self.model.beginning_of_sequence is not None else 1
        """The first position that is written: nothing says which word should be the very first."""
        self.varied: list[Prompt] = [tuple(self.model.encode(text)) for text in VARIED]
        self._gradients: OrderedDict[tuple[Target, Prompt, Prompt], Tensor] = OrderedDict()

    # -- sentences -----------------------------------------------------------------------------

    def samples(self, starts: Sequence[Prompt], count: int, length: int) -> list[Prompt]:
        """Sentences of the model's own, all begun with as many tokens: of random texts of many
        kinds, or of random starts."""
        begun, steps = self._begun(starts, count, length)
        drawn = self.propose.continue_each(begun, steps)
        return [tuple(row) for row in torch.cat([begun, drawn], 1).tolist()]

    def samples_with_runs(
        self, starts: Sequence[Prompt], count: int, length: int
    ) -> tuple[Int[Tensor, "row length"], TargetRun]:
        """`samples`, and the runs that wrote them."""
        return self.propose.write(*self._begun(starts, count, length))

    def length(self, starts: Sequence[Prompt]) -> int:
        """Tokens of a sentence that is drawn."""
        return min(max(self.own.length, *map(len, starts)), self.model.max_length)

    def _begun(
        self, starts: Sequence[Prompt], count: int, length: int
    ) -> tuple[Int[Tensor, "row begun"], int]:
        """Beginnings, and by how many tokens to continue them."""
        texts = self.varied if self.own.varied else starts
        # Few words: places in sentences with longer beginnings promise less (docs).
        begin = min(self.first + self.propose.number(4), *map(len, texts))
        rows = [texts[self.propose.number(len(texts))][:begin] for _ in range(count)]
        begun = self.tensor([list(row) for row in rows])
        return begun, max(0, min(length, self.model.max_length) - begin)

    # -- from a sentence -----------------------------------------------------------------------

    def edits(
        self,
        sentence: Prompt,
        place: int,
        origin: tuple[Prompt, ...],
        head: Target | None = None,
        known: int | None = None,
    ) -> Variants:
        """Likely tokens at one place of a sentence, what follows kept for `suffix` positions.

        With ``head`` half of them are those that its gradient favours: of how far its output, put
        in the sentence's own run, would move the answer (2 evaluations). ``known`` is a token that
        is among them anyway.
        """
        base = self.tensor(sentence[: place + self.own.suffix])
        given = base[place : place + 1]
        if known is not None:
            given = torch.cat([given, self.tensor([known])])
        scores = without(self.likely(base[:place]), given)
        favoured = base[:0]
        if head is not None and self.own.gradient:
            self.evaluator.aim(head)
            gradient = self.relaxed.pulls(base[None])[0, place]
            favoured = self._favoured(scores, gradient, (self.own.variants - 1) // 2)
        count = self.own.variants - len(given) - len(favoured)
        drawn = self.draw(without(scores, favoured), count)
        return self._written(base, place, torch.cat([given, favoured, drawn]), origin)

    # -- from a pair ---------------------------------------------------------------------------

    def other_edits(self, parent: Parent, head: Target) -> Variants:
        """Other tokens at an edited place, a part guided by the head's gradient: of x and y alike,
        or, where they differ elsewhere too, in each of them."""
        places = parent.places
        place = places[0]
        if len(places) > 1:
            return self._in_both(parent, places[self.propose.number(len(places))], head)
        x, y = self.tensor(parent.clean), self.tensor(parent.corrupted)
        scores = without(self.likely(x[:place]), torch.stack([x[place], y[place]]))
        favoured = self._favoured_of_each(scores, head, x, y, place, (self.own.variants - 2) // 4)
        drawn = self.draw(without(scores, favoured), self.own.variants - 2 - len(favoured))
        tokens = torch.cat([x[place : place + 1], y[place : place + 1], favoured, drawn])
        return self._written(x, place, tokens, parent.origin)

    def other_shared(self, parent: Parent, head: Target) -> Variants | None:
        """Other tokens at an unedited place of both prompts; half of them by the gradient."""
        begin = max(self.first, len(parent.clean) - self.own.suffix)
        edited = parent.places
        places = [place for place in range(begin, len(parent.clean)) if place not in edited]
        if not places:
            return None
        return self._in_both(parent, places[self.propose.number(len(places))], head)

    def other_tail(self, parent: Parent, head: Target) -> Variants | None:
        """Everything after the edit, or from a later place on, drawn anew; it may get longer."""
        edited = parent.places
        after = edited[-1] + 1
        place = after + self.propose.number(max(1, len(parent.clean) - after))
        stop = min(edited[0] + self.own.suffix, self.model.max_length)
        if stop <= place:
            return None
        both = self.tensor([parent.clean[:place], parent.corrupted[:place]])
        drawn = self.propose.continue_together(both, self.own.variants // 2, stop - place)
        prompts = torch.cat([both.repeat(len(drawn), 1), drawn.repeat_interleave(2, 0)], dim=1)
        # What the model wrote is a sentence of its own; only swapped tokens were written.
        origin = prompts.repeat(len(parent.origin), 1, 1)
        origin[:, :, :place] = self.tensor([one[:place] for one in parent.origin])[:, None]
        return Variants(prompts, origin)

    def moved_edit(self, parent: Parent, head: Target) -> Variants:
        """The edit given up and made at another place of x."""
        begin = max(self.first, len(parent.clean) - self.own.suffix)
        place = begin + self.propose.number(max(1, len(parent.clean) - begin))
        return self.edits(parent.clean, min(place, len(parent.clean) - 1), parent.origin, head)

    # -- parts ---------------------------------------------------------------------------------

    def _in_both(self, parent: Parent, place: int, head: Target) -> Variants:
        """x and y, each with some tokens at one place: the same ones, so that they are pairs with
        one token there, and, where pairs may differ in two places, with different ones too."""
        x, y = self.tensor(parent.clean), self.tensor(parent.corrupted)
        before = torch.stack([x, y])[:, :place]
        known = self.propose.log_probabilities(before, logits_to_keep=1)[:, -1].mean(0)
        given = torch.unique(torch.stack([x[place], y[place]]))
        scores, count = without(known, given), self.own.variants // 2
        favoured = x[:0]
        if self.own.changes > 1:
            count -= len(given)
            favoured = self._favoured_of_each(scores, head, x, y, place, count // 4)
        else:
            given = given[:0]
            if self.own.gradient:
                gradient = self.gradient(head, x, y)[:, place].sum(0)
                favoured = self._favoured(scores, gradient, count // 2)
        drawn = self.draw(without(scores, favoured), count - len(favoured))
        tokens = torch.cat([given, favoured, drawn])
        prompts = torch.stack([x, y]).repeat(len(tokens), 1, 1)
        prompts[:, :, place] = tokens[:, None]
        return self._several(torch.unique(prompts.flatten(0, 1), dim=0), parent.origin)

    def _favoured_of_each(
        self,
        scores: Float[Tensor, " token"],
        head: Target,
        x: Tensor,
        y: Tensor,
        place: int,
        count: int,
    ) -> Int[Tensor, " favoured"]:
        """Of the likeliest tokens those that the gradient favours most in x, and those in y."""
        if not self.own.gradient:
            return x[:0]
        gradient = self.gradient(head, x, y)[:, place]
        return torch.unique(torch.cat([self._favoured(scores, one, count) for one in gradient]))

    def gradient(
        self, head: Target, x: Int[Tensor, " length"], y: Int[Tensor, " length"]
    ) -> Float[Tensor, "2 length d_model"]:
        """Of the head's LD change, with respect to the embeddings of x and y.

        6 evaluations, or none where it was asked for lately: pairs are worked on again and again.
        """
        key = (head, tuple(x.tolist()), tuple(y.tolist()))
        if key not in self._gradients:
            self.evaluator.aim(head)
            self._gradients[key] = self.relaxed.slopes(torch.stack([x, y])[None])[0]
        self._gradients.move_to_end(key)
        if len(self._gradients) > GRADIENTS_KEPT:
            self._gradients.popitem(last=False)
        return self._gradients[key]

    def state(self) -> list[list[Any]]:
        """What `gradient` need not find again, as plain values."""
        return [[head.layer, head.head, list(x), list(y)] for head, x, y in self._gradients]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Have what `state` gave; to be called before the ledger is restored."""
        self._gradients.clear()
        for layer, head, x, y in state:
            self.gradient(Target(layer, head), self.tensor(x), self.tensor(y))

    def likely(self, before: Int[Tensor, " place"]) -> Float[Tensor, " token"]:
        """log p of every token that may stand after ``before``, which must not be empty."""
        _, _, ahead = self.evaluator.prefix(before)
        if ahead is None:
            raise ValueError("nothing stands before the first position")
        return self.propose.writable(ahead)

    def draw(self, scores: Float[Tensor, " token"], count: int) -> Int[Tensor, " drawn"]:
        """Different tokens of the likeliest, drawn by likelihood."""
        best = scores.topk(min(self.own.proposals, int(scores.isfinite().sum())))
        order = perturbed(best.values, self.propose.generator)
        return best.indices[order.topk(min(max(count, 0), len(order))).indices]

    def tensor(self, ids: Any) -> Tensor:
        return torch.tensor(ids, device=self.device)

    def _favoured(
        self, scores: Float[Tensor, " token"], gradient: Float[Tensor, " d_model"], count: int
    ) -> Int[Tensor, " favoured"]:
        """Of the likeliest tokens those that the gradient favours most."""
        likeliest = scores.topk(min(self.own.proposals, int(scores.isfinite().sum()))).indices
        slope = self.relaxed.table[likeliest] @ gradient
        return likeliest[slope.topk(min(count, len(likeliest))).indices]

    def _written(
        self, base: Tensor, place: int, tokens: Tensor, origin: tuple[Prompt, ...]
    ) -> Variants:
        prompts = base.repeat(len(tokens), 1)
        prompts[:, place] = tokens
        return self._several(prompts, origin)

    def _several(
        self, prompts: Int[Tensor, "prompt length"], origin: tuple[Prompt, ...]
    ) -> Variants:
        count, length = prompts.shape
        sentences = self.tensor([one[:length] for one in origin])
        return Variants(prompts, sentences[:, None].expand(-1, count, -1))
