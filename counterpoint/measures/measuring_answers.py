"""`answer_effects`, `token_effects`: what heads do to other answers and to every token.

The numbers are those of a study's `answers.parquet` and `answer_tokens.parquet`, of pairs at hand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.errors import UserError
from counterpoint.global_state import unchanged_state
from counterpoint.measures.call_checks import Head, check_settings, checked_heads, checked_number
from counterpoint.measures.measured_pairs import MeasuredPairs
from counterpoint.measures.tables.answer_table import candidate_ids, score_answers
from counterpoint.models.load import LanguageModel
from counterpoint.models.shared_weights import unchanged_modules
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.pairs.pair_checks import UnequalLengths
from counterpoint.progress import Bar


def answer_effects(
    model: LanguageModel,
    pairs: Any,
    heads: Collection[Head] | pd.DataFrame,
    answers: Collection[str] | None = None,
    *,
    directions: Sequence[Direction] = DIRECTIONS,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What patching each head does to any answers: head × answers.

    One run of the patched model has the logits of every token; so the effect of a head is known,
    exactly, on answers that no pair names.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        heads: (layer, head) of each head wanted, as ``[(23, 3), (20, 0)]``, or rows of a table of
            heads.
        answers: Texts of one token each, usually with their leading space, as ``[" John"]``; None
            for the answers of all ``pairs``. Each pair's own are looked at as well.
        directions: As in `measure`; likewise the arguments that follow.
        answer_tokens: See `measure`; `"whole"` is not measured here.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, head and answer with the columns of ``answers.parquet``: the
        answer's token id and text, its ``role`` in the pair (``correct``, ``incorrect``,
        ``candidate``), and the changes of its logit, of the logit less the mean of all tokens', of
        its log-probability and of its probability, beside its log-probability before.

    Raises:
        UserError: As `measure` does, for a head that the model has not, and for an answer that is
            not one token.
    """
    return _on_answers(
        model,
        pairs,
        heads,
        answers,
        directions,
        answer_tokens,
        on_bad_pair,
        unequal_lengths,
        memory_mb,
        progress,
        tokens=1,
    )[0]


def token_effects(
    model: LanguageModel,
    pairs: Any,
    heads: Collection[Head] | pd.DataFrame,
    *,
    tokens: int = 10,
    directions: Sequence[Direction] = DIRECTIONS,
    answer_tokens: AnswerTokens = "one",
    on_bad_pair: Literal["error", "drop"] = "error",
    unequal_lengths: UnequalLengths = "refuse",
    memory_mb: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The tokens of the whole vocabulary that patching each head raises and lowers most.

    Args:
        model: What `counterpoint.load` gives.
        pairs: What `counterpoint.pairs` gives, or anything that it takes.
        heads: (layer, head) of each head wanted, as ``[(23, 3), (20, 0)]``, or rows of a table of
            heads.
        tokens: How many tokens on either side.
        directions: As in `measure`; likewise the arguments that follow.
        answer_tokens: See `measure`; `"whole"` is not measured here.
        on_bad_pair: See `measure`.
        unequal_lengths: See `measure`.
        memory_mb: See `measure`.
        progress: See `measure`.

    Returns:
        One row per pair, direction, head, order (``by``: the change of the ``logit``, which is that
        of the log-probability but for a number that all tokens share, or of the ``probability``),
        ``side`` (``raised``, ``lowered``) and rank, with the columns of ``answer_tokens.parquet``;
        pair −1 is the mean over the pairs.

    Raises:
        UserError: As `measure` does, and for a head that the model has not.
    """
    tokens = checked_number("tokens", tokens, 1)
    return _on_answers(
        model,
        pairs,
        heads,
        (),
        directions,
        answer_tokens,
        on_bad_pair,
        unequal_lengths,
        memory_mb,
        progress,
        tokens=tokens,
    )[1]


def _on_answers(
    model: LanguageModel,
    pairs: Any,
    heads: Collection[Head] | pd.DataFrame,
    answers: Collection[str] | None,
    directions: Sequence[Direction],
    answer_tokens: AnswerTokens,
    on_bad_pair: Literal["error", "drop"],
    unequal_lengths: UnequalLengths,
    memory_mb: int | None,
    progress: bool,
    *,
    tokens: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of `score_answers`."""
    directions = check_settings(model, directions, "logit_difference", "adaptive", 1e-4, 65, 1)
    chosen = checked_heads(model, heads)
    if isinstance(answers, str):
        raise UserError(f"answers={answers!r} is not allowed; expected a list, as in [' John'].")
    with unchanged_state(), unchanged_modules(model.hf):
        given = MeasuredPairs.of(
            model,
            pairs,
            on_bad_pair,
            "logit_difference",
            directions,
            memory_mb,
            answer_tokens,
            unequal_lengths,
            takes_whole=False,
        )
        candidates = candidate_ids(model, None if answers is None else list(answers), given.pairs)
        with Bar("looking at answers", len(given.pairs), shown=progress, unit=" pairs") as bar:

            def shards() -> Iterator[Mapping[str, Tensor]]:
                for cached, count in given.buckets():
                    yield cached
                    bar.advance(count)

            found = score_answers(
                model, shards(), chosen, candidates, given.measurement, tokens=tokens
            )
        for table in found:
            table.attrs = given.attributes()
        return found
