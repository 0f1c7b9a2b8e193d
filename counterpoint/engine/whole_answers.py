"""An engine for answers of several tokens: its metric is a signed sum over readings.

    m(whole) = Σ sign · m(reading),

where each reading (`answer_readings`) is an engine of its own, on the prompts with a beginning of
an answer. In every one of them the component moves from the background's value to the other
prompt's at *every* position from the first difference on, those of the answer's tokens included:
what is patched in the run of the prompt with the whole answer behind it. (By causality a run of the
prompt with a beginning of the answer is the beginning of that run.)

A row's shift has the positions of all readings side by side, so that α, gradients and integrals are
those of the sum, and whatever is made of `evaluate` alone is exact for whole answers.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.engine.activations import Component, Direction, Prompt
from counterpoint.engine.answer_readings import NOT_WHOLE, AnswerReadings, JoinedActivations
from counterpoint.engine.evaluation_rows import WAYS, Rows, Way
from counterpoint.engine.expert_routing import Choices
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel


class WholeAnswerEngine(SuffixEngine):
    """Evaluates rows on the background runs of every reading and adds up what is read.

    Raises UserError for a metric that is not defined for whole answers.
    """

    def __init__(
        self,
        model: LanguageModel,
        answers: AnswerReadings,
        *,
        metric: str = "logit_difference",
        memory_mb: int = 1000,
        verify: bool = True,
    ) -> None:
        used = answers.used_by(metric)
        self.model = model
        self.memory_mb = memory_mb
        self.evaluations = 0
        self._rows_that_fit = {}
        # A batch may have to hold the values of all readings until it is differentiated.
        own_memory = max(1, memory_mb // len(used))
        self._parts = tuple(
            (
                SuffixEngine(model, one, metric=name, memory_mb=own_memory, verify=verify),
                sign,
            )
            for sign, name, one in used
        )
        self._lengths = [part.suffix_length for part, _ in self._parts]
        self.activations = JoinedActivations.of([one for _, _, one in used], answers.pairs)

    @property
    def parts(self) -> tuple[tuple[SuffixEngine, float], ...]:
        return self._parts

    @property
    def suffix_length(self) -> int:
        """Positions of all readings together: those of a row's shift."""
        return sum(self._lengths)

    def way(self, component: Component) -> Way:
        """The most careful way in which any reading is evaluated."""
        return max((part.way(component) for part, _ in self._parts), key=WAYS.index)

    def unpatched(self, prompt: Prompt) -> Float[Tensor, " pair"]:
        return torch.stack([sign * part.unpatched(prompt) for part, sign in self._parts]).sum(0)

    def evaluate(
        self, rows: Rows, direction: Direction, component: Component = "head"
    ) -> Float[Tensor, " row"]:
        self.evaluations += len(self._parts) * len(rows.layer)
        found = [
            sign * part.evaluate(own, direction, component)
            for (part, sign), own in zip(self._parts, self._split(rows), strict=True)
        ]
        return torch.stack(found).sum(0)

    def evaluate_with_choices(
        self, rows: Rows, direction: Direction, component: Component
    ) -> tuple[Float[Tensor, " row"], Choices]:
        self.evaluations += len(self._parts) * len(rows.layer)
        output, chosen, margin = [], [], []
        for (part, sign), own in zip(self._parts, self._split(rows), strict=True):
            value, choices = part.evaluate_with_choices(own, direction, component)
            output.append(sign * value)
            chosen.append(choices.chosen)
            margin.append(choices.margin)
        return torch.stack(output).sum(0), Choices(torch.cat(chosen, 1), torch.cat(margin, 1))

    def rows_per_batch(self, *, differentiate: bool = False) -> int:
        fits = min(part.rows_per_batch(differentiate=differentiate) for part, _ in self._parts)
        return max(1, min(fits, self._rows_that_fit.get(differentiate, fits)))

    def _split(self, rows: Rows) -> list[Rows]:
        shifts = torch.split(rows.shift, self._lengths, dim=1)
        return [Rows(rows.pair, rows.layer, shift) for shift in shifts]

    # -- what has no meaning where several positions are read -------------------------------------

    def sweep(
        self, rows: Rows, background: Prompt, component: Component, way: Way
    ) -> Float[Tensor, "row d_model"]:
        raise UserError(NOT_WHOLE)

    def __getattr__(self, name: str) -> Any:
        if name in ("metric", "arguments"):
            raise UserError(NOT_WHOLE)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
