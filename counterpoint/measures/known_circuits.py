"""Circuits of one study, each run once: what they answer on every pair, and how faithful they are.

`circuit_evaluation` and `edge_circuit_evaluation` say how circuits of nodes and of edges are run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from counterpoint.engine.activations import Direction, background_prompt, other_prompt
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.load import LanguageModel

Array = np.ndarray

END_TOLERANCE = 1e-2
"""How far the full circuit may be from the background run, and the empty one from the other run,
as a share of what the two runs differ by. SmolLM2 leaves 3e-6 in float32; a model in which
something besides the nodes and the prompt matters misses by order one."""


class KnownCircuits:
    """Circuits on all pairs of some buckets in one direction, masks over the same members.

    Every circuit is run once, however often it is asked for. The order of pairs is that of the
    engines, one after another.
    """

    def __init__(self, engines: Sequence[SuffixEngine], direction: Direction) -> None:
        self.engines, self.direction = engines, direction
        self.evaluations = 0
        """Circuits run so far, each on all pairs."""
        self._known: dict[bytes, Float[Array, " pair"]] = {}
        self.full, self.empty = (
            np.concatenate([engine.unpatched(side(direction)).double().cpu() for engine in engines])
            for side in (background_prompt, other_prompt)
        )

    @property
    def model(self) -> LanguageModel:
        return self.engines[0].model

    @property
    def n_pairs(self) -> int:
        return len(self.full)

    def check_ends(self, found: Float[Array, "end pair"], what: str, parts: str) -> None:
        """Raise UserError where circuits of nothing and of everything, whose metric is ``found``,
        are not the other run and the background run. ``what`` has these circuits, made of
        ``parts``."""
        size = np.abs(self.full - self.empty).max()
        missed = np.abs(found - np.stack([self.empty, self.full])).max()
        if not missed <= END_TOLERANCE * size:
            raise UserError(
                f"model architecture {type(self.model.hf).__name__}: with every {what}, or with"
                " none, a circuit does not give what the prompt's own run gives: it misses"
                f" {missed:.1e} of {size:.1e}. Something besides {parts} carries the"
                f" prompt. Leave the study's circuit out (circuit: pairs: none). {REMEDY}"
            )

    def metric(self, circuits: Bool[Array, "circuit member"]) -> Float[Array, "circuit pair"]:
        """The metric of each circuit on each pair."""
        raise NotImplementedError

    def faithfulness(self, circuits: Bool[Array, "circuit member"]) -> Float[Array, " circuit"]:
        """f of each circuit, over all pairs."""
        whole = (self.full - self.empty).mean()
        # And 0 is added, so that no share is −0.
        return (self.metric(circuits) - self.empty).mean(1) / whole + 0.0

    def _found(
        self,
        circuits: Bool[Array, "circuit member"],
        run: Callable[[SuffixEngine, list[int]], Float[Array, "circuit pair"]],
    ) -> Float[Array, "circuit pair"]:
        """The metric of each circuit; ``run`` makes those, by their places, that are not known."""
        keys = [np.packbits(circuit).tobytes() for circuit in circuits]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            self.evaluations += len(new)
            found = [run(engine, list(new.values())) for engine in self.engines]
            self._known |= dict(zip(new, np.concatenate(found, axis=1), strict=True))
        return np.stack([self._known[key] for key in keys])
