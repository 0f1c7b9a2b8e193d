"""Pairs that a caller gave: checked in the model's tokenizer, run shard by shard, bucket by bucket.

As the workflow takes them: pairs of the same lengths stand together in shards of as many pairs, so
that the same pairs share a batch. What is run is handed over bucket by bucket and never written.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from counterpoint.engine.activations import Direction
from counterpoint.errors import UserError
from counterpoint.measures.call_checks import check_answer_tokens, check_model, checked_memory
from counterpoint.measures.tables.merging import KEYS
from counterpoint.measures.tables.shards import Measurement, cached_buckets
from counterpoint.models.load import LanguageModel
from counterpoint.pairs.answer_tokens import AnswerTokens
from counterpoint.pairs.doubtful_pairs import doubtful_answers, doubtful_texts, lines
from counterpoint.pairs.given_pairs import pairs as given_pairs
from counterpoint.pairs.pair_checks import UnequalLengths, validate_pairs
from counterpoint.progress import Bar

SEVERAL = 'answer_tokens="first_difference" or answer_tokens="whole"'
"""How a caller takes pairs whose answers are several tokens."""


@dataclass
class MeasuredPairs:
    """Checked pairs and what they are measured by."""

    model: LanguageModel
    pairs: pd.DataFrame
    measurement: Measurement
    baselines: list[pd.DataFrame]

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        pairs: Any,
        on_bad_pair: Literal["error", "drop"],
        metric: str,
        directions: Sequence[Direction],
        memory_mb: int | None,
        answer_tokens: AnswerTokens = "one",
        unequal_lengths: UnequalLengths | None = None,
        *,
        takes_whole: bool = True,
    ) -> MeasuredPairs:
        """Check the pairs in the model's tokenizer; as `measure` raises.

        Without ``takes_whole`` what is measured is not defined for whole answers;
        ``unequal_lengths`` is None where pairs of unequal length cannot be measured.
        """
        check_answer_tokens(answer_tokens, metric, takes_whole=takes_whole)
        if answer_tokens == "whole" and unequal_lengths == "align":
            raise UserError(
                "answer_tokens='whole': whole answers of several tokens are measured behind prompts"
                " of equal length; expected answer_tokens='first_difference', or"
                " unequal_lengths='refuse'."
            )
        good = checked_pairs(model, pairs, on_bad_pair, answer_tokens, unequal_lengths)
        memory = checked_memory(model, memory_mb)
        return cls(model, good, Measurement(metric, tuple(directions), memory), [])

    def buckets(self) -> Iterator[tuple[Mapping[str, Tensor], int]]:
        """The activations of each bucket of each shard, and how many pairs they are of."""
        for cached, baseline in cached_buckets(self.model, self.pairs, self.measurement.metric):
            self.baselines.append(baseline)
            yield cached, len(baseline)

    def scored(
        self,
        what: str,
        score: Callable[[Mapping[str, Tensor]], pd.DataFrame],
        keys: Sequence[str],
        *,
        progress: bool,
    ) -> pd.DataFrame:
        """The tables that ``score`` makes of the activations of each bucket, as one (`whole`).

        A bar named ``what`` is shown meanwhile where ``progress``; of doubtful pairs it is warned.
        """
        tables = []
        with Bar(what, 2 * len(self.pairs), shown=progress, unit=" stages") as bar:
            for cached, count in self.buckets():
                bar.advance(count)
                tables.append(score(cached))
                bar.advance(count)
        self.say_doubts()
        return self.whole(tables, keys)

    def say_doubts(self) -> None:
        """Warn of pairs that pass every check and were probably meant otherwise."""
        baseline = pd.concat(self.baselines, ignore_index=True)
        for doubts in (
            doubtful_texts(self.pairs, self.model.tokenizer),
            doubtful_answers(baseline, metric=self.measurement.metric),
        ):
            for line in lines(doubts, "the pairs"):
                _warn(line)

    def whole(self, tables: list[pd.DataFrame], keys: Sequence[str] = KEYS) -> pd.DataFrame:
        """All rows, by pair, direction as asked, layer and head."""
        table = pd.concat(tables, ignore_index=True)
        place = {direction: number for number, direction in enumerate(self.measurement.directions)}
        table = table.sort_values(
            [key for key in keys if key in table.columns],
            key=lambda column: column.map(place) if column.name == "direction" else column,
            ignore_index=True,
        )
        table.attrs = self.attributes()
        return table

    def attributes(self) -> dict[Hashable | None, Any]:
        """What is said of the pairs beside a table: their rows, and the metric of both prompts."""
        baseline = pd.concat(self.baselines, ignore_index=True).sort_values("pair")
        # Plain lists, which every writer of tables can write.
        return {
            "row": self.pairs["row"].tolist(),
            **{name: baseline[name].tolist() for name in ("metric_clean", "metric_corrupted")},
        }


def checked_pairs(
    model: LanguageModel,
    pairs: Any,
    on_bad_pair: Literal["error", "drop"] = "error",
    answer_tokens: AnswerTokens | None = None,
    unequal_lengths: UnequalLengths | None = None,
) -> pd.DataFrame:
    """The pairs with their tokens in ``model``, as in ``pairs.parquet``.

    ``answer_tokens`` is what the caller was asked for; None where answers are always one token.
    ``unequal_lengths`` likewise, None where pairs of unequal length cannot be measured.

    Raises UserError listing the rows that cannot be used; with ``on_bad_pair="drop"`` these are
    left out with a warning.
    """
    check_model(model)
    if on_bad_pair not in ("error", "drop"):
        raise UserError(f"on_bad_pair={on_bad_pair!r} is unknown; expected 'error' or 'drop'.")
    if unequal_lengths not in (None, "refuse", "align"):
        raise UserError(
            f"unequal_lengths={unequal_lengths!r} is unknown; expected 'refuse' or 'align'."
        )
    table = given_pairs(pairs)
    if "row" not in table.columns:
        table = table.assign(row=np.arange(1, len(table) + 1))
    good, dropped = validate_pairs(
        table,
        model.tokenizer,
        prepend_bos=model.prepend_bos,
        max_length=model.max_length,
        vocabulary=model.d_vocab,
        answer_tokens=answer_tokens or "one",
        on_bad_pair=on_bad_pair,
        several=None if answer_tokens is None else SEVERAL,
        unequal_lengths=unequal_lengths or "refuse",
        align_by='unequal_lengths="align"' if unequal_lengths else "",
        drop='on_bad_pair="drop"',
    )
    if len(dropped):
        reasons = "\n".join(
            f"  row {row.row}: {row.reason}" for row in dropped.head(10).itertuples()
        )
        _warn(f"the pairs: {len(dropped)} rows were left out:\n{reasons}")
    return good


def _warn(text: str) -> None:
    """Warn of the line outside this package that called it, however deep within this stands."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        "counterpoint."
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
