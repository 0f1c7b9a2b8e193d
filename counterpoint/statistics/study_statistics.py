"""All statistics of a study whose pairs come in parts: what grows with them is sums.

Correlations and claims are means over pairs. Of every part of the pairs their sums are made
(`PartSums.of`) and added, in whatever order; rankings, sample sizes and variances are those of at
most `ranked_pairs` pairs, and heads are drawn and shuffled on at most `sampled_pairs`, whose rows
are read once and kept. So memory grows with a pair's few numbers, and not with its heads. A study
of fewer pairs is computed of all of them, and equals what the functions of single tables give.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from counterpoint.errors import UserError
from counterpoint.statistics import correlations as correlations_module
from counterpoint.statistics.claims import USED, ClaimSums, table_of_claims
from counterpoint.statistics.correlations import Chosen, DirectionSums, direction_table
from counterpoint.statistics.means_over_pairs import DrawnPairs
from counterpoint.statistics.panel import Panel, directions, panel
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.sample_sizes import sample_sizes
from counterpoint.statistics.sampled_pairs import sampled
from counterpoint.statistics.stability import stability
from counterpoint.statistics.templates import drawn_whole, labels
from counterpoint.statistics.variance_components import variance_components

CHOSEN = Chosen()
COLUMNS = tuple(dict.fromkeys((*CHOSEN.columns, *USED)))
"""What is needed of the table of heads, in its own columns or derived from them."""


@dataclass(frozen=True)
class StudyPairs:
    """What is known of a study's pairs before its rows are read, and the rows of the ranked ones.

    ``ranked`` holds the rows of heads of `sampled_pairs.ranked`, with the column `template` where
    the pairs have one; ``templates`` names that of every pair.
    """

    drawn: DrawnPairs
    ranked: pd.DataFrame
    templates: pd.Series | None
    samples: dict[str, Panel]
    """By direction: the pairs on which heads are drawn and shuffled."""

    @classmethod
    def of(
        cls,
        pairs: Int[np.ndarray, " pair"],
        ranked: pd.DataFrame,
        templates: pd.Series | None,
        settings: Settings,
    ) -> StudyPairs:
        """``pairs`` are the numbers of all of them, ascending."""
        chosen = sampled(pairs, settings)
        rows = ranked[ranked["pair"].isin(chosen)]
        return cls(
            DrawnPairs.of(pairs, labels(drawn_whole(templates, settings), pairs)),
            ranked,
            templates,
            {
                direction: panel(rows, direction, COLUMNS, settings.floor)
                for direction in directions(ranked)
            },
        )


@dataclass(frozen=True)
class Part:
    """The rows of some pairs: all of each pair."""

    heads: pd.DataFrame
    faithfulness: pd.DataFrame
    interaction: pd.DataFrame


@dataclass(frozen=True)
class PartSums:
    """By direction: the sums of some pairs."""

    correlations: dict[str, DirectionSums]
    claims: dict[str, ClaimSums]
    scores: frozenset[str]
    """Those of the faithfulness table."""

    @classmethod
    def of(cls, part: Part, study: StudyPairs, settings: Settings) -> PartSums:
        """The sums of a part of the study's pairs."""
        correlated, claimed = {}, {}
        for direction in directions(part.heads):
            rows = part.heads[part.heads["direction"] == direction]
            data, sample = panel(rows, direction, COLUMNS, settings.floor), study.samples[direction]
            correlated[direction] = DirectionSums.of(data, sample, study.drawn, CHOSEN, settings)
            claimed[direction] = ClaimSums.of(
                rows,
                data,
                sample,
                study.drawn,
                study.templates,
                part.faithfulness,
                part.interaction,
                settings,
            )
        return cls(correlated, claimed, frozenset(part.faithfulness["score"]))

    def plus(self, other: PartSums) -> PartSums:
        """The sums over the pairs of both."""
        return PartSums(
            {name: one.plus(other.correlations[name]) for name, one in self.correlations.items()},
            {name: one.plus(other.claims[name]) for name, one in self.claims.items()},
            self.scores | other.scores,
        )


def study_statistics(
    parts: Iterable[Part], study: StudyPairs, settings: Settings
) -> dict[str, pd.DataFrame]:
    """The tables `correlations`, `claims`, `stability`, `sample_sizes` and `variance`.

    The parts together hold every pair of the study once. Raises UserError without any part, and as
    the functions of single tables do.
    """
    sums: PartSums | None = None
    for part in parts:
        own = PartSums.of(part, study, settings)
        sums = own if sums is None else sums.plus(own)
    if sums is None:
        raise UserError("the table of heads has no rows; expected at least one.")
    # In the order of the table of heads, whichever part came first.
    names = directions(study.ranked)
    claimed = [sums.claims[name] for name in names]
    return {
        "correlations": correlations_module.finished(
            [direction_table(sums.correlations[name], CHOSEN, settings) for name in names]
        ),
        "claims": table_of_claims(claimed, set(sums.scores), settings),
        "stability": stability(study.ranked, settings=settings),
        "sample_sizes": sample_sizes(study.ranked, settings=settings),
        "variance": variance_components(study.ranked, settings=settings),
    }
