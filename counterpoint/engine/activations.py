"""Activations: what is kept of the clean and the corrupted run of every pair of a bucket.

The two prompts of a pair share their tokens up to the first differing one. That prefix is run once;
of the suffix, the inputs of every block, the outputs of every attention and MLP, and the values z
of every head are kept for both prompts. With these, no measurement has to run a whole prompt again.
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
    """Pairs of one bucket: equal token length and equal first differing position.

    ``number`` is each pair's number in the study. Raises ValueError when the prompts differ in
    shape, are equal, or do not share one first differing position.
    """

    clean: Int[Tensor, "pair length"]
    corrupted: Int[Tensor, "pair length"]
    correct: tuple[tuple[int, ...], ...]
    incorrect: tuple[tuple[int, ...], ...]
    number: tuple[int, ...]
    first_difference: int = field(init=False)

    def __post_init__(self) -> None:
        if self.clean.shape != self.corrupted.shape:
            raise ValueError("the prompts of a pair must have the same number of tokens")
        differs = self.clean != self.corrupted
        if not bool(differs.any(1).all()):
            raise ValueError("the prompts of a pair must differ in at least one token")
        first = differs.int().argmax(1)
        if not bool((first == first[0]).all()):
            raise ValueError("the pairs of a bucket must share their first differing position")
        object.__setattr__(self, "first_difference", int(first[0]))

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def length(self) -> int:
        return self.clean.shape[1]

    def to(self, device: torch.device | str) -> TokenPairs:
        """The same pairs on another device."""
        return TokenPairs(
            self.clean.to(device),
            self.corrupted.to(device),
            self.correct,
            self.incorrect,
            self.number,
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

    def run(self, prompt: Prompt) -> Run:
        return self.clean if prompt == "clean" else self.corrupted

    @property
    def start(self) -> int:
        """The first position that is kept: the first differing one, or 0 without a prefix."""
        return self.pairs.length - self.clean.attention.shape[2]

    def tokens(self, prompt: Prompt) -> Int[Tensor, "pair suffix"]:
        """The tokens of the positions that are kept."""
        return getattr(self.pairs, prompt)[:, self.start :]

    def of_pairs(self, places: Sequence[int]) -> Activations:
        """Those of some of the pairs, by their places in the bucket."""
        if list(places) == list(range(len(self.pairs))):
            return self
        chosen = torch.tensor(places, dtype=torch.long, device=self.pairs.clean.device)
        pairs = TokenPairs(
            self.pairs.clean[chosen],
            self.pairs.corrupted[chosen],
            tuple(self.pairs.correct[place] for place in places),
            tuple(self.pairs.incorrect[place] for place in places),
            tuple(self.pairs.number[place] for place in places),
        )
        prefix = self.prefix
        if prefix is not None and len(prefix.keys[0]) > 1:
            prefix = PrefixKeysValues(
                [keys[chosen] for keys in prefix.keys], [value[chosen] for value in prefix.values]
            )
        return replace(
            self,
            pairs=pairs,
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
        """Everything as named tensors, the form in which it is stored."""
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
