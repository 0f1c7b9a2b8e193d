"""One interface for all methods of searching."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.methods.ablations import ProposalOnly
from counterpoint.counterfactuals.methods.baselines import (
    GradientSwaps,
    LikelySwaps,
    RandomSwaps,
    TemplateSwaps,
)
from counterpoint.counterfactuals.methods.descent import Descent
from counterpoint.counterfactuals.methods.evolution import Evolution
from counterpoint.counterfactuals.methods.fluent import Fluent
from counterpoint.counterfactuals.methods.method import Method, Setup
from counterpoint.counterfactuals.methods.search_checkpoints import (
    Checkpoints,
    restore_run,
    run_state,
)
from counterpoint.counterfactuals.problem import (
    Ledger,
    SearchResult,
    Settings,
    Start,
    State,
    Target,
    as_starts,
)
from counterpoint.engine.linear import through_onednn
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

METHODS: dict[str, Method] = {
    "descent": Descent,
    "evolution": Evolution,
    "fluent": Fluent,
    "random_swaps": RandomSwaps,
    "likely_swaps": LikelySwaps,
    "gradient_swaps": GradientSwaps,
    "template_swaps": TemplateSwaps,
    "proposal_only": ProposalOnly,
}
"""Every method by its name in the configuration."""


def search(
    model: LanguageModel,
    method: str,
    target: Target,
    start: str | Start | Sequence[str | Start],
    settings: Settings | None = None,
    seed: int = 0,
    *,
    checkpoints: Checkpoints | None = None,
) -> SearchResult:
    """Search for pairs on which ``target`` matters, from one start or several.

    The same arguments give the same archive and the same trace but for its seconds, as long as the
    budget has no limit in seconds; also where the search goes on from what ``checkpoints`` kept.

    Raises UserError for an unknown method, a head that the model has not, a start that is empty,
    longer than the model's context or of unequal lengths, and declared answers of several tokens.
    """
    settings = settings or Settings()
    if method not in METHODS:
        raise UserError(
            f"counterfactuals.methods: {method!r} is unknown; expected {', '.join(METHODS)}."
        )
    target.check(model)
    starts = [tokens_of(model, one) for one in as_starts(start)]
    if not starts:
        raise UserError("counterfactuals.start: no start prompt was given; expected at least one.")
    ledger = Ledger(settings.budget)
    evaluator = Evaluator(model, target, settings, ledger, starts[0][0])
    archive = Archive(ledger)
    generator = torch.Generator().manual_seed(seed)
    with through_onednn(model.hf.modules(), packed=True):
        steps = METHODS[method](Setup(evaluator, archive, starts, settings, generator))

        def state() -> State:
            run = {**run_state(evaluator, generator), "archive": archive.state()}
            return {**steps.state(), "run": run}

        if checkpoints is not None and (kept := checkpoints.kept()):
            steps.restore(kept)
            archive.restore(kept["run"]["archive"])
            restore_run(kept["run"], evaluator, generator)
        progress = Progress(f"{method} for head {target}, evaluations", ledger.budget.evaluations)
        while not ledger.exhausted and steps.step():
            progress(ledger.evaluations - progress.done)
            if checkpoints is not None:
                checkpoints.keep(state)
    return archive.result(model, method, target, seed)


def study_starts(pairs: pd.DataFrame, start: str | None = None) -> list[Start]:
    """Where the searches of a study begin: at ``start``, else at its pairs (`pairs.parquet`)."""
    if start is not None:
        return [Start(start)]
    ordered = pairs.sort_values("pair")
    return [
        Start(clean, corrupted)
        for clean, corrupted in zip(ordered["clean"], ordered["corrupted"], strict=True)
    ]


def study_prompts(pairs: pd.DataFrame) -> list[list[int]]:
    """Token ids of both prompts of each pair of a study (`pairs.parquet`), from its first pair."""
    ordered = pairs.sort_values("pair")
    both = zip(ordered["clean_tokens"], ordered["corrupted_tokens"], strict=True)
    return [[int(token) for token in tokens] for pair in both for tokens in pair]


def tokens_of(model: LanguageModel, start: Start) -> tuple[list[int], list[int]]:
    """Token ids of x and y; y is x where the start has one prompt."""
    clean = model.encode(start.clean)
    second = start.clean if start.corrupted is None else start.corrupted
    corrupted = model.encode(second)
    for text, ids in ((start.clean, clean), (second, corrupted)):
        if len(ids) < 3:
            raise UserError(
                f"counterfactuals.start: {text!r} has {len(ids)} tokens; expected at least 3, the"
                " beginning-of-sequence token included. Write a longer start."
            )
        if len(ids) > model.max_length:
            raise UserError(
                f"counterfactuals.start: {text[:60]!r}… has {len(ids)} tokens; the model's"
                f" context holds {model.max_length}. Write a shorter start."
            )
    if len(clean) != len(corrupted):
        raise UserError(
            f"counterfactuals.start: {start.clean!r} has {len(clean)} tokens and"
            f" {start.corrupted!r} {len(corrupted)}; expected equally many. Change one of them."
        )
    return clean, corrupted
