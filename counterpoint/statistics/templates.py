"""Templates: pairs that are made by one pattern, and what is drawn whole because of them.

Pairs of one template share its sentence, and a head's effects on them are more alike than those on
pairs of different templates. Drawing pairs one by one takes them for independent and gives
intervals that are too narrow for any statement about the task beyond these templates: measured on
simulated means (8 templates of 18 pairs, 30 % of the variance between templates), 95 % intervals
that draw pairs covered the truth in 57 % of cases, those that draw templates in 95 %. So where
there are enough, templates are drawn, each with all its pairs: a cluster bootstrap (Field and Welsh
2007, J. Royal Statistical Society B 69, 369). The pairs within a drawn template are not drawn once
more: for a mean that would count their spread twice (Davison and Hinkley 1997, Bootstrap Methods
and their Application, section 3.8), and covered in 97 to 100 %.

A table of heads says by its column `template` of which template a row's pair is; `with_templates`
puts it there. A pair without a name there is a template of its own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int

from counterpoint.errors import MissingColumn, UserError
from counterpoint.statistics.panel import TEMPLATE, Panel, check_kind, template_names
from counterpoint.statistics.resampling import Settings

MINIMUM_TEMPLATES = 5
"""The fewest templates that are drawn unless it is asked for. Of 4 there are 35 different resamples
and of 5 there are 126; and Student's t with 3 degrees of freedom makes the interval of a mean so
wide that it says little (`docs/statistics.md`)."""


def with_templates(heads: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """``heads`` with the column `template` of the pairs that it was measured on.

    ``pairs`` is the table of pairs: ``pairs.parquet``, or what `counterpoint.pairs` gave. Its rows
    are found by their column `pair`, else by the rows that ``heads.attrs`` names, else by their
    order. Without a column `template` in ``pairs`` the table comes back as it is.

    Raises UserError for a pair of the table of heads that ``pairs`` lacks.
    """
    check_kind(heads, ("pair",))
    if not isinstance(pairs, pd.DataFrame):
        raise UserError(
            f"pairs is a {type(pairs).__name__}; expected a DataFrame, as counterpoint.pairs gives."
        )
    if TEMPLATE not in pairs.columns:
        return heads
    names = pd.Series(pairs[TEMPLATE].to_numpy(), index=_numbers(heads, pairs))
    wanted = heads["pair"].unique()
    missing = sorted(set(wanted) - set(names.index))
    if missing:
        raise UserError(
            f"the table of pairs lacks pair {missing[0]} of the table of heads; give the table of "
            "the pairs that were measured."
        )
    filled = names.where(names.notna(), "").astype(str)
    result = heads.assign(
        **{TEMPLATE: pd.Categorical(heads["pair"].map(filled), sorted(set(filled)))}
    )
    result.attrs = heads.attrs
    return result


def _numbers(heads: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """The number, as in the table of heads, of every row of ``pairs``; −1 for one left out."""
    if "pair" in pairs.columns:
        return pairs["pair"].to_numpy()
    rows = pairs["row"].to_numpy() if "row" in pairs.columns else np.arange(1, len(pairs) + 1)
    measured = heads.attrs.get("row")
    if measured is None:
        return np.arange(len(pairs))
    place = {row: number for number, row in enumerate(measured)}
    return np.array([place.get(row, -1) for row in rows])


def of_pairs(table: pd.DataFrame, pairs: Int[np.ndarray, " pair"]) -> pd.Series | None:
    """The templates that `pairs.parquet` names of ``pairs``, as `panel.template_names`; None where
    it names none. Raises UserError for a pair that the table lacks."""
    if TEMPLATE not in table.columns:
        return None
    numbers = table["pair"] if "pair" in table.columns else np.arange(len(table))
    names = pd.Series(table[TEMPLATE].to_numpy(dtype=object), index=numbers)
    missing = np.setdiff1d(pairs, names.index)
    if len(missing):
        raise UserError(
            f"the table of pairs lacks pair {missing[0]} of the table of heads; give the table of "
            "the pairs that were measured."
        )
    names = names.loc[pairs]
    return names.where(names.notna(), "").astype(str)


def labels(names: pd.Series | None, pairs: Int[np.ndarray, " pair"]) -> Int[np.ndarray, " pair"]:
    """A number for each pair, equal for those of one template; all different without templates."""
    if names is None:
        return np.arange(len(pairs))
    own = names.reindex(pairs)
    own = own.where(own.notna() & (own != ""), [f"pair {pair}" for pair in pairs])
    # In the order of the pairs: where each is alone the numbers are those of the pairs.
    return pd.factorize(own)[0]


def drawn_whole(names: pd.Series | None, settings: Settings) -> pd.Series | None:
    """The templates, where they are what is drawn by ``settings.resample``; None where pairs are.

    ``auto`` draws templates where there are at least `MINIMUM_TEMPLATES` of them and fewer than
    pairs. Raises UserError where ``templates`` is asked for and there are fewer than two.
    """
    if settings.resample == "pairs":
        return None
    if settings.resample == "templates":
        if names is None:
            raise MissingColumn(
                "statistics: resample is templates, but the pairs have no column template; add it "
                "to the file of pairs, or give resample: auto or pairs."
            )
        if named(names) < 2:
            raise UserError(
                f"statistics: resample is templates, but the pairs are of {named(names)}; expected"
                " at least 2 templates, or resample: auto or pairs."
            )
        return names
    if names is None or named(names) < MINIMUM_TEMPLATES:
        return None
    return names if len(np.unique(labels(names, names.index.to_numpy()))) < len(names) else None


def named(names: pd.Series) -> int:
    """How many templates have a name."""
    return int(names[names != ""].nunique())


def clusters_of(data: Panel, settings: Settings) -> Int[np.ndarray, " pair"]:
    """What is drawn whole when pairs are drawn: a number for each pair of the panel."""
    return labels(drawn_whole(data.templates, settings), data.pairs)


def clusters(
    heads: pd.DataFrame | None, pairs: Int[np.ndarray, " pair"], settings: Settings
) -> Int[np.ndarray, " pair"]:
    """The same for ``pairs`` of a table that does not name templates, beside the table of heads."""
    names = None if heads is None else template_names(heads)
    return labels(drawn_whole(names, settings), np.asarray(pairs))
