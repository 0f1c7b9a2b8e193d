"""Views of a bucket that begin at a later position, for changes at that position alone.

A change at one position cannot reach those before it, so that its rows need no more of the suffix
than what comes from there on, behind the keys and values that the background's run has at all
positions before. These are the same for every row of a direction, and are made once.

Where they are not those of a whole run (a prefix may not be used, `activation_caching`), or a first
pair's rows come out otherwise than on the whole suffix, there are no views: rows then run on the
whole suffix with a shift that is 0 elsewhere. What was found is kept on the model for each shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activation_caching import reuses_prefix
from counterpoint.engine.activations import Component, Direction, background_prompt
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import Units, differences
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.prefix_cache import PrefixKeysValues, run_prefix
from counterpoint.engine.rounding import COARSEST_CHECK, computed_eps
from counterpoint.engine.selfcheck import CHECK_TOLERANCE
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel


@dataclass(eq=False)
class PositionViews:
    """Engines for changes at single positions, for one direction of the pairs of an engine."""

    engine: SuffixEngine
    direction: Direction
    keys_values: PrefixKeysValues | None
    """Of the background's run at every position but the last; None where there are no views."""
    _made: dict[int, SuffixEngine] = field(default_factory=dict)

    @property
    def positions(self) -> range:
        """Every position at which a change can matter: from the first difference on."""
        activations = self.engine.activations
        return range(activations.pairs.first_difference, activations.length)

    def at(self, position: int, component: Component) -> tuple[SuffixEngine, int]:
        """An engine for changes of ``component`` at ``position``, and the place of that position in
        the engine's suffix."""
        start, before = self.engine.activations.start, self.keys_values
        # A view evaluates rows in the ways of its engine, so they are to be found there.
        self.engine.way(component)
        if before is None or position == start:
            return self.engine, position - start
        if position not in self._made:
            self._made[position] = self.engine.behind(
                position,
                PrefixKeysValues(
                    [keys[:, :, :position] for keys in before.keys],
                    [values[:, :, :position] for values in before.values],
                ),
            )
        return self._made[position], 0


def position_views(engine: SuffixEngine, direction: Direction) -> PositionViews:
    """The views of an engine's pairs, compared with the whole suffix where their shape is new."""
    model, pairs, length = engine.model, engine.activations.pairs, engine.activations.length
    plain = PositionViews(engine, direction, None)
    shape = length, pairs.first_difference
    found = _exact(model)
    if (
        engine.activations.start != pairs.first_difference
        or pairs.first_difference == length - 1
        or not reuses_prefix(model, length)
        or found.get(shape) is False
    ):
        return plain
    tokens = getattr(pairs, background_prompt(direction))[:, :-1]
    try:
        with library_errors(model, "beginning at a later position"):
            views = PositionViews(engine, direction, run_prefix(model, tokens))
            if shape not in found:
                found[shape] = _agree(plain, views)
    except UserError:
        found[shape] = False
    return views if found[shape] else plain


def _exact(model: LanguageModel) -> dict[tuple[int, int], bool]:
    """Whether views are exact, for each length and first differing position compared."""
    return cast("dict[tuple[int, int], bool]", model.__dict__.setdefault("_views", {}))


@torch.no_grad()
def _agree(plain: PositionViews, views: PositionViews) -> bool:
    """Whether a head of the first, the middle and the last layer, patched at each later position of
    the first pair, gives the same logits in both."""
    allowed = min(CHECK_TOLERANCE * computed_eps(plain.engine.model), COARSEST_CHECK)
    for position in plain.positions[1:]:
        expected, found = (_logits(each, position) for each in (plain, views))
        # A logit of −∞ says that a token is forbidden.
        forbidden = expected == -torch.inf
        spread = expected.amax(1) - expected.masked_fill(forbidden, torch.inf).amin(1)
        missed = (found - expected).masked_fill(forbidden & (found == expected), 0)
        if not bool((missed.abs().amax(1) <= allowed * spread).all()):
            return False
    return True


def _logits(views: PositionViews, position: int) -> Float[Tensor, "row vocabulary"]:
    engine, place = views.at(position, "head")
    model = engine.model
    layers = model.head_layers
    layer = torch.tensor(
        sorted({layers[0], layers[len(layers) // 2], layers[-1]}), device=model.device
    )
    units = Units(torch.zeros_like(layer), layer, layer % model.n_heads).at(place)
    shift = differences(model, engine.activations, views.direction, units)
    rows = Rows(units.pair, tuple(layer.tolist()), shift)
    return engine.logits(engine.final(rows, views.direction))
