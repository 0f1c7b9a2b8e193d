"""Activations: what is kept of the clean and the corrupted run of every pair of a bucket.

The two prompts of a pair share their tokens up to the first differing one. That prefix is run once;
of the suffix, the inputs of every block, the outputs of every attention and MLP, and the values z
of every head are kept for both prompts. With these, no measurement has to run a whole prompt again.
Prompts of unequal length have suffixes of unequal length; `laid_out_runs` brings the one's values
to the other's positions.
`activation_caching` makes them, `head_outputs` reads single heads out of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.prefix_cache import PrefixKeysValues

Prompt = Literal["clean", "corrupted"]
Direction = Literal["noising", "denoising"]
Component = Literal["head", "mlp", "attention", "residual"]
"""What is replaced: one head's output, or a layer's whole MLP output, attention output, or the
residual stream before its block (before layer 0: the embeddings)."""
PROMPTS: tuple[Prompt, Prompt] = ("clean", "corrupted")
DIRECTIONS: tuple[Direction, Direction] = ("noising", "denoising")


def background_prompt(direction: Direction) -> Prompt:
    """The prompt whose run is held: clean in `noising`, corrupted in `denoising`."""
    return "clean" if direction == "noising" else "corrupted"


def other_prompt(direction: Direction) -> Prompt:
    """The prompt from which the moving component's value comes."""
    return "corrupted" if direction == "noising" else "clean"


@dataclass(frozen=True, eq=False)
class TokenPairs:
    """Pairs of one bucket: equal token lengths and equal first differing position.

    ``number`` is each pair's number in the study. Where the two prompts of a pair are of unequal
    length, ``aligned_with`` is the partner of each position of the clean one, −1 without one
    (`pairs.alignment`). Raises ValueError when prompts of one length are equal or do not share one
    first differing position, when the lengths differ and nothing says what belongs together, and
    when that is no alignment.
    """

    clean: Int[Tensor, "pair length"]
    corrupted: Int[Tensor, "pair corrupted_length"]
    correct: tuple[tuple[int, ...], ...]
    incorrect: tuple[tuple[int, ...], ...]
    number: tuple[int, ...]
    aligned_with: Int[Tensor, "pair length"] | None = None
    first_difference: int = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.clean.shape[1], self.corrupted.shape[1]
        if len(self.clean) != len(self.corrupted) or (
            self.clean.shape != self.corrupted.shape and self.aligned_with is None
        ):
            raise ValueError("the prompts of a pair must have the same number of tokens")
        # The last position of either prompt is never part of what they begin with in common.
        common = min(lengths) - (lengths[0] != lengths[1])
        differs = self.clean[:, :common] != self.corrupted[:, :common]
        if lengths[0] != lengths[1]:
            differs = torch.cat([differs, differs.new_ones(len(differs), 1)], dim=1)
        if not bool(differs.any(1).all()):
            raise ValueError("the prompts of a pair must differ in at least one token")
        first = differs.int().argmax(1)
        if not bool((first == first[0]).all()):
            raise ValueError("the pairs of a bucket must share their first differing position")
        object.__setattr__(self, "first_difference", int(first[0]))
        if self.aligned_with is not None:
            self._check_alignment(self.aligned_with)

    def _check_alignment(self, partners: Int[Tensor, "pair length"]) -> None:
        if self.clean.shape == self.corrupted.shape:
            raise ValueError("prompts of equal length are aligned position by position")
        first, last = self.first_difference, self.corrupted.shape[1] - 1
        good = partners.shape == self.clean.shape
        for own in partners.tolist() if good else ():
            later = [place for place in own[first:] if place != -1]
            good &= own[:first] == list(range(first)) and own[-1] == last
            good &= later == sorted(set(later)) and first <= later[0]
        if not good:
            raise ValueError(
                "an alignment has a partner for each position before the first difference (itself)"
                " and for the last one (the last), and its partners rise"
            )

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def length(self) -> int:
        """Tokens of either prompt. Raises ValueError where they have not as many."""
        if self.aligned_with is not None:
            raise ValueError("the prompts of these pairs have no length in common")
        return self.clean.shape[1]

    def length_of(self, prompt: Prompt) -> int:
        """Tokens of one prompt."""
        return (self.clean if prompt == "clean" else self.corrupted).shape[1]

    def partners(self, prompt: Prompt) -> Int[Tensor, "pair length"]:
        """The position of the other prompt that each of ``prompt`` is aligned with; −1 without."""
        if self.aligned_with is None:
            return torch.arange(self.length, device=self.clean.device).expand(len(self), -1)
        if prompt == "clean":
            return self.aligned_with
        found = torch.full_like(self.corrupted, -1)
        pair, place = (self.aligned_with >= 0).nonzero(as_tuple=True)
        found[pair, self.aligned_with[pair, place]] = place.to(found.dtype)
        return found

    def to(self, device: torch.device | str) -> TokenPairs:
        """The same pairs on another device."""
        partners = self.aligned_with
        return replace(
            self,
            clean=self.clean.to(device),
            corrupted=self.corrupted.to(device),
            aligned_with=None if partners is None else partners.to(device),
        )

    def of(self, places: Sequence[int]) -> TokenPairs:
        """Some of the pairs, by their places in the bucket."""
        chosen = torch.tensor(places, dtype=torch.long, device=self.clean.device)
        partners = self.aligned_with
        return TokenPairs(
            self.clean[chosen],
            self.corrupted[chosen],
            tuple(self.correct[place] for place in places),
            tuple(self.incorrect[place] for place in places),
            tuple(self.number[place] for place in places),
            None if partners is None else partners[chosen],
        )


@dataclass(frozen=True, eq=False)
class Run:
    """What one prompt's run leaves of the suffix; ``layer`` counts blocks from 0."""

    residual: Float[Tensor, "layer pair suffix d_model"]
    """The input of each block; of width 0 where it is not one stream."""
    attention: Float[Tensor, "layer pair suffix d_model"]
    """What each attention's output projection returns; NaN in layers without heads."""
    mlp: Float[Tensor, "layer pair suffix d_model"]
    """The output of each MLP; NaN in layers without one."""
    z: Float[Tensor, "layer pair suffix z"]
    """The values of all heads, concatenated: the input of the output projection. In layers whose
    heads are narrower than others, each head's values end with zeros; see `packed`."""
    final: Float[Tensor, "pair d_model"]
    """The output of the last block at the last position."""

    def of_pairs(self, chosen: Int[Tensor, " chosen"]) -> Run:
        """That of some of the pairs."""
        return Run(
            **{
                name: tensor[chosen] if name == "final" else tensor[:, chosen]
                for name, tensor in vars(self).items()
            }
        )

    def from_position(self, skipped: int) -> Run:
        """The same without the first ``skipped`` positions; nothing is copied."""
        return Run(
            **{
                name: tensor if name == "final" else tensor[:, :, skipped:]
                for name, tensor in vars(self).items()
            }
        )


@dataclass(frozen=True, eq=False)
class Activations:
    """The runs of both prompts of every pair in a bucket, and their common prefix."""

    pairs: TokenPairs
    prefix: PrefixKeysValues | None
    clean: Run
    corrupted: Run
    head_way: int | None = None
    """The place in `evaluation_rows.WAYS` of how rows that enter at a head are evaluated, where
    that was found when the activations were stored; jobs that read them need not find it again."""
    laid_out_for: Direction | None = None
    """Of pairs of unequal length: the direction in whose background's positions the values of both
    runs stand (`laid_out_runs`); None where each run has its own positions."""

    def run(self, prompt: Prompt) -> Run:
        return self.clean if prompt == "clean" else self.corrupted

    @property
    def length(self) -> int:
        """Tokens of either prompt; of pairs of unequal length of the one that is laid out for."""
        if self.laid_out_for is None:
            return self.pairs.length
        return self.pairs.length_of(background_prompt(self.laid_out_for))

    @property
    def start(self) -> int:
        """The first position that is kept: the first differing one, or 0 without a prefix."""
        prompt = background_prompt(self.laid_out_for or "noising")
        return self.pairs.length_of(prompt) - self.run(prompt).attention.shape[2]

    def tokens(self, prompt: Prompt) -> Int[Tensor, "pair suffix"]:
        """The tokens of the positions that are kept."""
        if self.laid_out_for is not None and prompt != background_prompt(self.laid_out_for):
            raise ValueError("only the background's tokens stand in its own positions")
        return getattr(self.pairs, prompt)[:, self.start :]

    def of_pairs(self, places: Sequence[int]) -> Activations:
        """Those of some of the pairs, by their places in the bucket."""
        if list(places) == list(range(len(self.pairs))):
            return self
        chosen = torch.tensor(places, dtype=torch.long, device=self.pairs.clean.device)
        prefix = self.prefix
        if prefix is not None and len(prefix.keys[0]) > 1:
            prefix = PrefixKeysValues(
                [keys[chosen] for keys in prefix.keys], [value[chosen] for value in prefix.values]
            )
        return replace(
            self,
            pairs=self.pairs.of(places),
            prefix=prefix,
            clean=self.clean.of_pairs(chosen),
            corrupted=self.corrupted.of_pairs(chosen),
        )

    def behind(self, start: int, prefix: PrefixKeysValues) -> Activations:
        """The positions from ``start`` on, behind keys and values of all that come before.

        Those are of one prompt's run, so that only this run may be the background.
        """
        skipped = start - self.start
        return replace(
            self,
            prefix=prefix,
            clean=self.clean.from_position(skipped),
            corrupted=self.corrupted.from_position(skipped),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, the form in which it is stored; not what is laid out."""
        if self.laid_out_for is not None:
            raise ValueError("runs are stored in their own positions")
        named: dict[str, Tensor] = {
            "clean_tokens": self.pairs.clean,
            "corrupted_tokens": self.pairs.corrupted,
            "number": torch.tensor(self.pairs.number),
        }
        for side in ("correct", "incorrect"):
            answers = getattr(self.pairs, side)
            named[f"{side}_tokens"] = torch.tensor([token for row in answers for token in row])
            named[f"{side}_counts"] = torch.tensor([len(row) for row in answers])
        for prompt in PROMPTS:
            named |= {f"{prompt}.{name}": tensor for name, tensor in vars(self.run(prompt)).items()}
        if self.prefix is not None:
            for layer, (key, value) in enumerate(
                zip(self.prefix.keys, self.prefix.values, strict=True)
            ):
                named[f"prefix.{layer}.keys"], named[f"prefix.{layer}.values"] = key, value
        if self.pairs.aligned_with is not None:
            named["aligned_with"] = self.pairs.aligned_with
        if self.head_way is not None:
            named["head_way"] = torch.tensor(self.head_way)
        return named

    @classmethod
    def from_tensors(
        cls, named: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> Activations:
        """The inverse of `tensors`, on ``device``."""

        def answers(side: str) -> tuple[tuple[int, ...], ...]:
            counts: list[int] = named[f"{side}_counts"].tolist()
            return tuple(
                tuple(part.tolist()) for part in torch.split(named[f"{side}_tokens"], counts)
            )

        pairs = TokenPairs(
            named["clean_tokens"].to(device),
            named["corrupted_tokens"].to(device),
            answers("correct"),
            answers("incorrect"),
            tuple(named["number"].tolist()),
            named["aligned_with"].to(device) if "aligned_with" in named else None,
        )
        runs = {
            prompt: Run(
                **{
                    name: named[f"{prompt}.{name}"].to(device)
                    for name in ("residual", "attention", "mlp", "z", "final")
                }
            )
            for prompt in PROMPTS
        }
        n_layers = len(runs["clean"].residual)
        prefix = None
        if "prefix.0.keys" in named:
            prefix = PrefixKeysValues(
                [named[f"prefix.{layer}.keys"].to(device) for layer in range(n_layers)],
                [named[f"prefix.{layer}.values"].to(device) for layer in range(n_layers)],
            )
        way = int(named["head_way"]) if "head_way" in named else None
        return cls(pairs, prefix, runs["clean"], runs["corrupted"], way)
