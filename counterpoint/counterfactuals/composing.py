"""`compose` and `validate`: searching pairs on which a head matters, and checking them, as calls.

The searches and the checks are those of the workflow (`methods.search`,
`validation.pair_validation`); here they take a head as two numbers, starts and pairs in any form,
and leave everything global as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from counterpoint.counterfactuals.archive import COLUMNS as ARCHIVE_COLUMNS
from counterpoint.counterfactuals.methods.method_settings import own_settings
from counterpoint.counterfactuals.methods.search import METHODS, search
from counterpoint.counterfactuals.problem import Budget, Settings, Start, Target
from counterpoint.counterfactuals.validation import pair_validation
from counterpoint.counterfactuals.validation.pair_validation import Depth
from counterpoint.errors import UserError, did_you_mean
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import (
    Head,
    check_model,
    checked_head,
    checked_memory,
    checked_number,
)
from counterpoint.measures.measured_pairs import checked_pairs
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.pair_files import COLUMNS as PAIR_TEXTS
from counterpoint.pairs.quoting import shortened
from counterpoint.progress import Bar

GIVEN = "given"
"""The method of pairs that no search found."""


@dataclass(frozen=True, eq=False)
class Composed:
    """What a search found for one head.

    Attributes:
        archive: One row per pair that no other pair beats in all four objectives (LD change,
            evenness of the curve, changed tokens, perplexity), best LD change first; ``choice``
            is the method's order of preference, from 1. Empty where nothing was found.
        trace: How the search went: ``evaluations``, ``seconds``, ``hypervolume``,
            ``best_ld_change``.
        head: Layer and head.
        method: The method's name.
    """

    archive: pd.DataFrame
    trace: pd.DataFrame
    head: Head
    method: str

    @property
    def pairs(self) -> pd.DataFrame:
        """The pairs as `counterpoint.measure` takes them, the method's first choice first."""
        ordered = self.archive.sort_values("choice", ignore_index=True)
        return ordered[list(PAIR_TEXTS)]

    @property
    def reason(self) -> str | None:
        """Why the archive is empty; None where it is not."""
        return self.archive.attrs.get("reason")


def compose(
    model: LanguageModel,
    head: Head,
    start: str | Start | pd.DataFrame | Sequence[str | Start | Sequence[str]],
    *,
    method: str = "fluent",
    evaluations: int = 1000,
    seconds: float | None = None,
    answers: tuple[str, str] | None = None,
    answer_in_prompt: Literal["unwritten", "forbid", "allow"] = "unwritten",
    settings: Mapping[str, Any] | object | None = None,
    seed: int = 0,
    memory_mb: int | None = None,
    progress: bool = True,
) -> Composed:
    """Search pairs of prompts on which one head matters.

    Args:
        model: What `counterpoint.load` gives.
        head: Layer and head, both from 0, as ``(5, 1)``.
        start: Where the search begins: a prompt, a list of prompts or of pairs
            ``(clean, corrupted)`` of equal token length, or a table of pairs.
        method: ``"fluent"``, ``"evolution"``, ``"descent"``, or a baseline (``"random_swaps"``,
            ``"likely_swaps"``, ``"gradient_swaps"``, ``"template_swaps"``, ``"proposal_only"``);
            docs/counterfactuals.md compares them.
        evaluations: Model evaluations (a prompt's forward pass; its backward pass counts as
            another) after which the search stops.
        seconds: Wall time after which it stops; None for no limit, so that the same seed gives the
            same pairs on every machine.
        answers: The correct and the incorrect answer, one token each; None for each prompt's
            likeliest next token.
        answer_in_prompt: What becomes of pairs with an answer in a prompt: ``"unwritten"`` leaves
            out those where the search wrote it, ``"forbid"`` all, ``"allow"`` none.
        settings: The method's own settings, as a mapping of some of them or an object of their
            class; None for the defaults.
        seed: Seed of the search.
        memory_mb: MB for batches, besides the model; by default a part of what is free.
        progress: Whether a bar is shown meanwhile.

    Returns:
        The archive of pairs and the trace of the search.

    Raises:
        UserError: With the reason and the remedy: for a head that the model has not, an unknown
            method or setting, a start that is empty, too short, longer than the model's context or
            of unequal lengths, answers of several tokens, and a budget that is none.
    """
    check_model(model)
    head = checked_head(model, head)
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(
            f"method={method!r} is unknown;{did_you_mean(str(method), list(METHODS))} expected"
            f" one of {', '.join(METHODS)}."
        )
    if answer_in_prompt not in ("unwritten", "forbid", "allow"):
        raise UserError(
            f"answer_in_prompt={answer_in_prompt!r} is unknown; expected 'unwritten', 'forbid' or"
            " 'allow'."
        )
    if seconds is not None and not (isinstance(seconds, Real) and seconds > 0):
        raise UserError(
            f"seconds={seconds!r} is not allowed; expected a number above 0, or None for no limit."
        )
    seed = checked_number("seed", seed, None)
    wanted = Settings(
        budget=Budget(checked_number("evaluations", evaluations, 1), seconds),
        answers=_two(answers),
        answer_in_prompt=answer_in_prompt,
        memory_mb=checked_memory(model, memory_mb),
        method=_own(method, settings),
    )
    with (
        unchanged_state(),
        unchanged_modules(model.hf),
        Bar("composing", None, shown=progress, unit=" evaluations"),
    ):
        found = search(model, method, Target(*head), _starts(start), wanted, seed=seed)
    return Composed(found.archive, found.trace, head, method)


def validate(
    model: LanguageModel,
    head: Head,
    pairs: Composed | pd.DataFrame | Any,
    *,
    count: int = 5,
    transferred: int = 1,
    transfers: int = 20,
    nulls: int = 20,
    prompts: Sequence[str] = (),
    seed: int = 0,
    memory_mb: int | None = None,
) -> pd.DataFrame:
    """Check by other means than a search's own whether a head matters on pairs.

    Every head of the model is patched on each pair, so that the head has a rank among them; it and
    its strongest rivals are patched once more in whole passes; its rank is compared with that on
    random answers, and the edit is tried in contexts that no search saw.

    Args:
        model: What `counterpoint.load` gives.
        head: Layer and head, both from 0.
        pairs: What `compose` gave, its archive, or pairs of one's own in any form that
            `counterpoint.pairs` takes, with one answer on each side.
        count: How many pairs are checked, a method's first choices first; of pairs of one's own
            the first.
        transferred: Of how many of them the edit is tried in fresh contexts (some 12 seconds
            each on one core).
        transfers: The number of these contexts.
        nulls: Draws of random answers on each pair.
        prompts: Texts whose mean loss sets the cap on fluency; without any there is none.
        seed: Seed of contexts and draws.
        memory_mb: MB for batches, besides the model; by default a part of what is free.

    Returns:
        One row per pair, with the columns of ``validation.parquet``: ``rank`` of the head among
        all, ``ap``, ``ap_plain`` and ``margin``, ``null_rank`` and the others that
        `validation.pair_validation.validate` lists.

    Raises:
        UserError: With the reason and the remedy: for a head that the model has not, pairs that
            cannot be used, several answers on a side, and numbers that are none.
    """
    check_model(model)
    head = checked_head(model, head)
    for name, value, least in (
        ("count", count, 1),
        ("transferred", transferred, 0),
        ("transfers", transfers, 0),
        ("nulls", nulls, 0),
        ("seed", seed, 0),
    ):
        checked_number(name, value, least)
    if isinstance(prompts, str) or not all(isinstance(text, str) for text in prompts):
        raise UserError(f"prompts={prompts!r} is not allowed; expected a list of texts.")
    with unchanged_state(), unchanged_modules(model.hf):
        return pair_validation.validate(
            model,
            Target(*head),
            _archive(model, pairs),
            Depth(count, transferred, transfers, nulls, seed),
            prompts=[model.encode(text) for text in prompts],
            memory_mb=checked_memory(model, memory_mb),
        )


def _archive(model: LanguageModel, pairs: Any) -> pd.DataFrame:
    """The pairs with the columns of an archive that a validation reads."""
    if isinstance(pairs, Composed):
        return pairs.archive
    if isinstance(pairs, pd.DataFrame) and set(ARCHIVE_COLUMNS) <= set(pairs.columns):
        return pairs
    good = checked_pairs(model, pairs)
    for side in ("correct", "incorrect"):
        several = good[good[f"{side}_tokens"].map(len) > 1]
        if len(several):
            raise UserError(
                f"the pairs, row {several['row'].iloc[0]}: {side} has several answers; a pair is"
                " validated with one answer on each side. Choose one."
            )
    return good.assign(
        method=GIVEN,
        choice=good["pair"] + 1,
        ld_change=0.0,
        correct_token=good["correct_tokens"].map(lambda ids: int(ids[0])),
        incorrect_token=good["incorrect_tokens"].map(lambda ids: int(ids[0])),
    )


def _starts(start: Any) -> list[Start]:
    if isinstance(start, Composed):
        start = start.pairs
    elif isinstance(start, pd.Series | np.ndarray):
        start = start.tolist()
    if isinstance(start, pd.DataFrame):
        missing = [name for name in ("clean", "corrupted") if name not in start.columns]
        if missing:
            raise UserError(f"start: the table lacks the column {missing[0]}.")
        start = list(zip(start["clean"], start["corrupted"], strict=True))
    several = list(start) if isinstance(start, Sequence) and not isinstance(start, str) else [start]
    if not several:
        raise UserError("start: an empty list was given; expected at least one prompt.")
    return [_one_start(each) for each in several]


def _one_start(start: Any) -> Start:
    if isinstance(start, Start):
        return start
    if isinstance(start, str):
        return Start(start)
    texts = list(start) if isinstance(start, Sequence) else []
    # Of a whole pair the prompts are taken, and the answers by ``answers``.
    if len(texts) in (2, len(PAIR_TEXTS)) and all(isinstance(text, str) for text in texts[:2]):
        return Start(texts[0], texts[1])
    raise UserError(
        f"start: {shortened(start)} is no start; expected a prompt, or a pair (clean,"
        " corrupted) of prompts."
    )


def _two(answers: Any) -> tuple[str, str] | None:
    if answers is None:
        return None
    texts = tuple(answers) if isinstance(answers, Sequence) and not isinstance(answers, str) else ()
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"answers={answers!r} is not allowed; expected the correct and the incorrect answer, as"
            " in (' John', ' Mary')."
        )
    return texts[0], texts[1]


def _own(method: str, settings: Any) -> object | None:
    """The settings of ``method`` itself; raises UserError for others."""
    kind = own_settings(method)
    if settings is None:
        return None
    if kind is not None and is_dataclass(settings) and isinstance(settings, kind):
        return settings
    if kind is None:
        raise UserError(f"settings: the method {method} has none; leave them out.")
    if not isinstance(settings, Mapping):
        raise UserError(
            f"settings is a {type(settings).__name__}; expected a mapping or {kind.__name__}."
        )
    known = [each.name for each in fields(kind)]
    wrong = [str(name) for name in settings if name not in known]
    if wrong:
        near = did_you_mean(wrong[0], known)
        raise UserError(
            f"settings: {method} has no setting {wrong[0]};{near} it has {', '.join(known)}."
        )
    for each in fields(kind):
        value = settings.get(each.name, each.default)
        if value is None or isinstance(each.default, bool):
            continue
        plain = isinstance(each.default, Real)
        if plain and (not isinstance(value, Real) or isinstance(value, bool)):
            raise UserError(f"settings: {each.name} is {value!r}; expected a number.")
        least = each.metadata.get("minimum")
        if plain and least is not None and value < least:
            raise UserError(f"settings: {each.name} is {value!r}; expected at least {least}.")
    made: object = kind(**settings)
    return made
