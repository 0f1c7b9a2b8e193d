"""What is searched: the words that every method shares.

A search looks for pairs (x, y), x the clean and y the corrupted prompt, on which one head matters.
The background is x's run (direction `noising`); on the path the head's output goes from x's to y's.
Unless answers are declared, the correct answer is x's own likeliest next token and the incorrect
one y's.

Model evaluations are counted so: one prompt's forward pass, whole or from the changed layer or
position on, is one evaluation; its backward pass is one more. (Weights ask for no gradient, so a
backward pass multiplies as many numbers as a forward pass.)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from counterpoint.counterfactuals.setting_fields import setting
from counterpoint.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from counterpoint.models.load import LanguageModel


@dataclass(frozen=True, order=True)
class Target:
    """The head that a search is for; both numbers count from 0."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    def check(self, model: LanguageModel) -> None:
        """Raise UserError when the model has no such head."""
        if not (0 <= self.layer < model.n_layers and 0 <= self.head < model.n_heads):
            raise UserError(
                f"counterfactuals.targets: head {self} is out of range; the model has layers 0 to"
                f" {model.n_layers - 1} and heads 0 to {model.n_heads - 1}. Correct the target."
            )
        if self.layer not in model.head_layers:
            raise UserError(
                f"counterfactuals.targets: layer {self.layer} has no attention heads (it is of"
                " another kind, such as a recurrent one or a convolution); layers with heads are"
                f" {', '.join(map(str, model.head_layers))}. Correct the target."
            )


@dataclass(frozen=True)
class Budget:
    """When a search stops, whichever comes first.

    With a limit in ``seconds`` the result depends on the machine; with None it does not.
    """

    evaluations: int = setting(1000, "Model evaluations.", minimum=1)
    seconds: float | None = setting(
        None,
        "Wall time; null: no limit, so that the result does not depend on the machine.",
        above=0,
    )

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise UserError(
                f"counterfactuals.budget.evaluations is {self.evaluations}; expected at least 1."
                " Give the search a budget, or leave the target out."
            )
        if self.seconds is not None and not self.seconds > 0:
            raise UserError(
                f"counterfactuals.budget.seconds is {self.seconds}; expected more than 0, or null"
                " for no limit."
            )


@dataclass(frozen=True)
class AtlasBudget(Budget):
    """That of a search for all heads at once."""

    evaluations: int = 40000


@dataclass(frozen=True)
class Start:
    """Where a search begins: one prompt, or a pair of equal token length."""

    clean: str
    corrupted: str | None = None


def as_starts(start: str | Start | Sequence[str | Start]) -> list[Start]:
    """One or several prompts, however they are given, as a list of `Start`."""
    several = [start] if isinstance(start, (str, Start)) else list(start)
    return [Start(one) if isinstance(one, str) else one for one in several]


Starts = Sequence[tuple[list[int], list[int]]]
"""Token ids of x and y of each start; y is x where a start has one prompt."""

State = dict[str, Any]
"""What a search would need to go on: plain values by name; under "tensors", where it has any,
tensors by name."""


@dataclass(frozen=True)
class Settings:
    """What holds for every method; a method's own settings stand beside it.

    ``answers`` declares the correct and the incorrect answer, one token each, instead of the
    prompts' own likeliest tokens.

    Writing an answer into a prompt is a short cut to a head that copies; the search wrote it where
    the start has another token.

    ``smallest_change`` is the LD change (−AP in noising, see `objectives`) below which a pair is
    not kept at all.
    """

    budget: Budget = Budget()
    answers: tuple[str, str] | None = None
    answer_in_prompt: Literal["unwritten", "forbid", "allow"] = setting(
        "unwritten",
        "What becomes of pairs of which an answer is, as a word, in a prompt: unwritten leaves out"
        " those where the search wrote it, forbid all, allow none.",
    )
    smallest_change: float = 0.01
    memory_mb: int = 1000
    method: object | None = None
    """The method's own settings; None for its defaults."""


@dataclass
class SearchResult:
    """What a search found.

    ``archive`` has one row per non-dominated pair, and per pair that the method prefers besides
    (columns: `archive.COLUMNS`), best LD change first; when it is empty,
    ``archive.attrs["reason"]`` says why. ``trace`` has the columns evaluations, seconds,
    hypervolume, best_ld_change, in order of evaluations.
    """

    archive: pd.DataFrame
    trace: pd.DataFrame


@dataclass
class Ledger:
    """What a search has spent, and what became of its candidates."""

    budget: Budget
    evaluations: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Candidates that were left out, by reason."""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @property
    def seconds(self) -> float:
        return self.clock() - self._begun

    def resume(self, evaluations: int, seconds: float, refused: Mapping[str, int]) -> None:
        """Count on from what a search had spent and refused when it was interrupted."""
        self.evaluations = evaluations
        self._begun = self.clock() - seconds
        self.refused = Counter(refused)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent. Checked between batches, so a search ends a batch late."""
        limit = self.budget.seconds
        return self.evaluations >= self.budget.evaluations or (
            limit is not None and self.seconds >= limit
        )

    @property
    def spent(self) -> float:
        """The share of the budget that is spent, of evaluations or of seconds."""
        evaluations, limit = self.budget.evaluations, self.budget.seconds
        return max(self.evaluations / evaluations, self.seconds / limit if limit else 0.0)

    def reason(self) -> str:
        """Why nothing was found, from what was refused."""
        if not self.refused:
            return f"no candidate was made in {self.evaluations} model evaluations"
        counts = ", ".join(f"{count} because {why}" for why, count in self.refused.most_common())
        return f"in {self.evaluations} model evaluations no candidate was left: {counts}"
