"""Runs of prompts of unequal length, laid out: the other run in the background's positions.

What is measured on a pair compares two runs position by position. Where the prompts have not as
many tokens, a component is replaced at the aligned positions alone (`pairs.alignment`): at a
position of the background that has a partner stands the other run's value at that partner, at one
without a partner the background's own, so that nothing changes there. The background keeps its own
tokens and its own length, which is why the two directions are laid out apart; every measure takes
what is laid out as it takes two runs of equal length.

The value that is put somewhere was computed at another place in its prompt: with position
embeddings, added or rotary, it may carry that.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from counterpoint.engine.activations import (
    Activations,
    Direction,
    Run,
    background_prompt,
    other_prompt,
)


def laid_out(activations: Activations, direction: Direction) -> Activations:
    """The same activations, both runs in the positions of the background of ``direction``.

    What the other run leaves at its end, ``final``, stays its own. Activations of prompts of equal
    length are handed back as they are. Raises ValueError for what is laid out already.
    """
    if activations.pairs.aligned_with is None:
        return activations
    if activations.laid_out_for is not None:
        raise ValueError(f"these activations are laid out for {activations.laid_out_for}")
    background, other = background_prompt(direction), other_prompt(direction)
    start, own = activations.start, activations.run(background)
    partner = activations.pairs.partners(background)[:, start:] - start
    has = (partner >= 0)[None, :, :, None]
    place = partner.clamp_min(0).long()[None, :, :, None]

    def placed(name: str, value: Tensor) -> Tensor:
        if name == "final":
            return value
        index = place.expand(len(value), -1, -1, value.shape[-1])
        return torch.where(has, value.gather(2, index), getattr(own, name))

    moved = Run(
        **{name: placed(name, value) for name, value in vars(activations.run(other)).items()}
    )
    return replace(
        activations,
        clean=own if background == "clean" else moved,
        corrupted=moved if background == "clean" else own,
        laid_out_for=direction,
    )
