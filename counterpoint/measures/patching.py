"""Activation patching, exact: the effect of putting the other prompt's value in place.

AP = f(1) − f(0), where f(1) is the background run with the component's output replaced at every
position (Zhang & Nanda 2024, "Towards best practices of activation patching"; Heimersheim & Nanda
2024, "How to use and interpret activation patching"). In `noising` the clean run is patched with
corrupted values, so that a head that carries the answer has a negative AP; in `denoising` the other
way round.

All heads of all layers join one sweep, so that a whole model costs little more than one forward
pass of a few hundred rows.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import Component, Direction, background_prompt, other_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences, every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.slopes import Advance, values

Array = np.ndarray


def activation_patching(
    engine: SuffixEngine,
    direction: Direction,
    *,
    units: Units | None = None,
    component: Component = "head",
    advance: Advance | None = None,
) -> Float[Array, " unit"]:
    """AP of ``units``, by default every head (or MLP) of every pair, lowest layer first.

    ``advance`` is told of evaluations as they are made.
    """
    if units is None:
        units = every_unit(engine.model, len(engine.activations.pairs), component)
    alphas = np.ones((len(units), 1))
    end = values(engine, direction, component, units, alphas, advance=advance)[:, 0]
    start = engine.unpatched(background_prompt(direction)).double().cpu().numpy()
    return end - start[units.pair.cpu().numpy()]


@torch.no_grad()
def patched_states(
    engine: SuffixEngine, direction: Direction, units: Units
) -> Float[Tensor, "unit d_model"]:
    """The last block's output at the last position with each head patched.

    One such sweep answers for every pair of answers: see `effects_on`.
    """

    def states(chosen: slice) -> Tensor:
        few = units[chosen]
        shift = differences(engine.model, engine.activations, direction, few)
        return engine.final(Rows(few.pair, tuple(few.layer.tolist()), shift), direction)

    return engine.in_batches(len(units), states)


@torch.no_grad()
def effects_on(
    engine: SuffixEngine,
    states: Float[Tensor, "unit d_model"],
    direction: Direction,
    units: Units,
    answers: Int[Tensor, "pair draw 2"],
) -> Float[Array, "draw unit"]:
    """AP of each unit on other answers than the engine's: the change of their logit difference.

    ``states`` are `patched_states` of ``units``; ``answers`` are token ids, the correct and the
    incorrect one, for every pair of the bucket and any number of draws.
    """
    answers = answers.to(states.device)
    background = engine.activations.run(background_prompt(direction)).final
    vocabulary, place = torch.unique(answers, return_inverse=True)

    def differences_of(final: Tensor, pair: Tensor) -> Tensor:
        logits = engine.logits(final, vocabulary)
        chosen = place[pair].flatten(1)
        correct, incorrect = logits.gather(1, chosen).unflatten(1, (-1, 2)).unbind(2)
        return correct - incorrect

    start = differences_of(background, torch.arange(len(background), device=states.device))
    end = differences_of(states, units.pair)
    return (end - start[units.pair]).T.double().cpu().numpy()


@torch.no_grad()
def layer_patching(engine: SuffixEngine, direction: Direction) -> Float[Array, "layer pair"]:
    """The effect of patching all heads of a layer together: what joint IG sums to.

    Not a number in layers without heads.
    """
    model, activations = engine.model, engine.activations
    other = activations.run(other_prompt(direction)).attention
    background = activations.run(background_prompt(direction)).attention
    n_layers, n_pairs = model.n_layers, len(activations.pairs)
    layers = torch.tensor(model.head_layers, device=model.device)
    layer = layers.repeat_interleave(n_pairs)
    pair = torch.arange(n_pairs, device=model.device).repeat(len(layers))

    def patched(chosen: slice) -> Tensor:
        where = layer[chosen], pair[chosen]
        shift = other[where] - background[where]
        return engine.evaluate(Rows(pair[chosen], tuple(layer[chosen].tolist()), shift), direction)

    end = engine.in_batches(len(layer), patched).view(len(layers), n_pairs)
    start = engine.unpatched(background_prompt(direction))
    found = np.full((n_layers, n_pairs), np.nan)
    found[model.head_layers] = (end - start).double().cpu().numpy()
    return found
