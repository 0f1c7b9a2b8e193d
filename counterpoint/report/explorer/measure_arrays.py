"""The numbers of every head that the explorer maps: on each pair, their means and intervals.

A measure is a column of heads.parquet, what follows from columns (`statistics.panel`), a role of
roles.parquet or a span of positions.parquet. Each has its own pairs, since roles and positions are
often measured on a few only. Means, intervals, spreads and quantiles are of all pairs that the
measure has; intervals are those that the page's tables have (`statistics.resampling`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from counterpoint.figures.chosen_heads import NEEDS, Head
from counterpoint.glossary import COLUMNS, DERIVED
from counterpoint.glossary.entries import METRIC
from counterpoint.glossary.metric_words import MetricWords
from counterpoint.report.explorer.pair_choice import QUANTILES
from counterpoint.statistics import resampling
from counterpoint.statistics.panel import KEYS, value
from counterpoint.statistics.position_sums import position_sums, spans_in_order
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.templates import clusters

MAPPED = (
    "ap", "abs_ap", "ap_normalised", "ig_joint", "disagreement", "atp",
    "output_range", "output_range_closed", "gradient_range", "excess_range", "total_variation",
    "monotonicity", "saturation", "quadrature_error",
    "eap_ig", "relp", "atp_hvp", "atp_reliability", "atp_star",
)  # fmt: skip
"""What is mapped of heads.parquet, as far as a study has it, in this order."""

ALWAYS_POSITIVE = frozenset(
    {
        "abs_ap", "output_range", "output_range_closed", "gradient_range", "excess_range",
        "total_variation", "monotonicity", "saturation", "quadrature_error",
        "atp_reliability", "atp_star",
    }
)  # fmt: skip
"""Measures that have no sign."""

SIGNED_AS_AP = frozenset({"ap", "ap_normalised"})
"""What cannot be below 0 where AP cannot."""

ROLES = ("query", "key", "value", "pattern")
"""Of the role `output` AP is the head's own."""

SAMPLES = 2000
"""Resamples behind an interval, as many as behind those of the page's table of heads."""


@dataclass(frozen=True)
class About:
    """What is said of a measure.

    Attributes:
        key: its name in the page's address and in copies.
        label: as it is shown.
        group: "scores", "roles" or "positions".
        meaning: a sentence.
        unit: of the values, "" for a plain number.
        signed: whether it may be below 0.
        source: the file that has it.
        column: the file's column, "" for what follows from several.
        where: further conditions on the file's rows: column and value.
        word: the key of its word in the page's glossary, or "".
    """

    key: str
    label: str
    group: str
    meaning: str
    unit: str
    signed: bool
    source: str
    column: str
    where: Mapping[str, str]
    word: str


ABOUT = ("key", "label", "group", "meaning", "unit", "signed", "source", "column", "word")
"""What of it is written as it is."""


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of all heads.

    Attributes:
        about: what is said of it.
        pairs: the numbers of the pairs that have it.
        scores: the values; NaN where it is not measured.
        low, high: the interval of the mean over pairs; NaN with one pair.
    """

    about: About
    pairs: Int[np.ndarray, " pair"]
    scores: Float[np.ndarray, "direction pair head"]
    low: Float[np.ndarray, "direction head"]
    high: Float[np.ndarray, "direction head"]

    def means(self) -> Float[np.ndarray, "direction head"]:
        """The mean over the pairs that have a value."""
        return np.stack([resampling.mean_over_pairs(part) for part in self.scores])

    def spreads(self) -> Float[np.ndarray, "direction head"]:
        """The standard deviation over pairs (n − 1); NaN with one."""
        known = np.isfinite(self.scores)
        count = known.sum(axis=1)
        rest = np.where(known, self.scores - self.means()[:, None], 0.0)
        variance = np.divide(
            (rest**2).sum(axis=1),
            count - 1,
            out=np.full(count.shape, np.nan),
            where=count > 1,
        )
        return np.sqrt(variance)

    def quantiles(self) -> Float[np.ndarray, "direction head quantile"]:
        """`QUANTILES` over the pairs; NaN where there is no value."""
        missing = ~np.isfinite(self.scores).any(axis=1)
        filled = np.where(missing[:, None], 0.0, self.scores)
        found = np.moveaxis(np.nanquantile(filled, QUANTILES, axis=1), 0, -1)
        return np.where(missing[..., None], np.nan, found)


@dataclass(frozen=True, eq=False)
class Study:
    """What all measures share.

    Attributes:
        directions: in the study's order.
        heads: in the order of layers and heads.
        settings: of the statistics.
        words: of the study's metric.
        table: of heads, for the templates of the pairs.
    """

    directions: Sequence[str]
    heads: Sequence[Head]
    settings: Settings
    words: MetricWords
    table: pd.DataFrame
    _drawn: dict[Any, tuple[Any, Any]] = field(default_factory=dict, init=False)

    def resamples(self, direction: str, pairs: Int[np.ndarray, " pair"]) -> tuple[Any, Any]:
        """Return which pairs are drawn together and the resamples: the same for all measures that
        have these pairs, so that they are drawn once."""
        key = (direction, pairs.tobytes())
        if key not in self._drawn:
            together = clusters(self.table, pairs, self.settings)
            random = resampling.generator(self.settings.seed, direction, "pairs")
            self._drawn[key] = together, resampling.draws(random, SAMPLES, len(pairs), together)
        return self._drawn[key]


def description(
    about: About, pairs: Sequence[int], pairs_in_all: int, whole: bool
) -> dict[str, Any]:
    """Return what the page is told of a measure: ``pairs`` are those that are shown, ``whole``
    says whether these are all that it has."""
    return {
        **{name: getattr(about, name) for name in ABOUT},
        "where": dict(about.where),
        "pairs": list(pairs),
        "pairs_in_all": pairs_in_all,
        "whole": whole,
    }


def head_measures(table: pd.DataFrame, study: Study) -> Iterator[Measure]:
    """Yield the measures of heads.parquet that ``table`` has."""
    for name in MAPPED:
        if not NEEDS.get(name, {name}) <= set(table.columns):
            continue
        known = value(table, name)
        if not np.isfinite(known.to_numpy(float)).any():
            continue
        column = COLUMNS["heads.parquet"].get(name) or DERIVED[name]
        about = About(
            key=name,
            label=column.shown,
            group="scores",
            meaning=column.meaning,
            unit=study.words.unit if column.unit == METRIC else "",
            signed=name not in ALWAYS_POSITIVE and not _one_signed(name, study),
            source="heads.parquet",
            column=name if name in table.columns else "",
            where={},
            word=column.word,
        )
        yield _measured(table.assign(**{name: known}), name, about, study)


def role_measures(roles: pd.DataFrame, study: Study) -> Iterator[Measure]:
    """Yield AP of each role of a head but its output, which is AP."""
    for role in ROLES:
        rows = roles[roles["role"] == role]
        if rows.empty:
            continue
        about = About(
            key=f"role.{role}",
            label=f"AP of the {role}",
            group="roles",
            meaning=f"The change of the metric with the head's {role} alone from the other prompt.",
            unit=study.words.unit,
            signed=not _one_signed("ap", study),
            source="roles.parquet",
            column="ap",
            where={"role": role},
            word="role",
        )
        yield _measured(rows, "ap", about, study)


def position_measures(positions: pd.DataFrame, study: Study) -> Iterator[Measure]:
    """Yield AP summed over each span, and the interaction over positions."""
    rows = positions[positions["component"] == "head"]
    if rows.empty:
        return
    spans = spans_in_order(rows)
    for span in spans if any(spans) else ():
        sums = rows[rows["span"] == span].groupby(list(KEYS), sort=False)["ap"].sum()
        at = f"at “{span}”" if span else "elsewhere"
        about = About(
            key=f"span.{span}",
            label=f"AP {at}",
            group="positions",
            meaning=f"AP with the output replaced at single positions, summed over those {at}.",
            unit=study.words.unit,
            signed=True,
            source="positions.parquet",
            column="ap",
            where={"component": "head", "span": span},
            word="position",
        )
        yield _measured(sums.reset_index(), "ap", about, study)
    about = About(
        key="position_interaction",
        label="interaction over positions",
        group="positions",
        meaning="The sum of AP over single positions − AP of all positions at once.",
        unit=study.words.unit,
        signed=True,
        source="positions.parquet",
        column="",
        where={"component": "head"},
        word="position-interaction",
    )
    yield _measured(position_sums(rows), "interaction", about, study)


def _one_signed(name: str, study: Study) -> bool:
    """Whether AP and what guesses it cannot be negative in any direction of the study."""
    return name in SIGNED_AS_AP and len(study.words.one_signed(study.directions)) == len(
        study.directions
    )


def _measured(table: pd.DataFrame, column: str, about: About, study: Study) -> Measure:
    """Return ``column`` of a table of heads as a measure, with its intervals."""
    pairs = np.sort(table["pair"].unique())
    shape = (len(study.directions), len(pairs), len(study.heads))
    values = np.full(shape, np.nan)
    places = {head: place for place, head in enumerate(study.heads)}
    pair_places = {int(pair): place for place, pair in enumerate(pairs)}
    rows = table[table["direction"].isin(study.directions)]
    index = (
        rows["direction"].map({name: place for place, name in enumerate(study.directions)}),
        rows["pair"].map(pair_places),
        [places[head] for head in zip(rows["layer"], rows["head"], strict=True)],
    )
    values[tuple(np.asarray(each, dtype=np.intp) for each in index)] = rows[column].to_numpy(float)
    low, high = _intervals(values, pairs, about, study)
    return Measure(about, pairs, values, low, high)


def _intervals(
    values: Float[np.ndarray, "direction pair head"],
    pairs: Int[np.ndarray, " pair"],
    about: About,
    study: Study,
) -> tuple[Float[np.ndarray, "direction head"], Float[np.ndarray, "direction head"]]:
    """The intervals of the means, drawn as for the page's tables: equal seeds, equal resamples."""
    ends = np.full((2, values.shape[0], values.shape[2]), np.nan)
    lowest = -math.inf if about.signed else 0.0
    if len(pairs) > 1:
        for place, direction in enumerate(study.directions):
            together, drawn = study.resamples(direction, pairs)
            found = resampling.study_interval(
                values[place], None, drawn, study.settings.confidence, (lowest, math.inf), together
            )
            ends[0, place], ends[1, place] = found.low, found.high
    return ends[0], ends[1]
