"""The head of the page that compares studies: what was found, and the verdicts by study."""

from __future__ import annotations

from scipy import stats

from counterpoint.report.comparison_results import Comparison
from counterpoint.report.html import Fragment, count, fill, join, number, table, word
from counterpoint.report.section_parts import verdict_mark
from counterpoint.statistics.claims import OVERALL
from counterpoint.statistics.panel import directions


def headline(compared: Comparison, title: str) -> Fragment:
    """Return title, what was found in a few sentences, and the verdicts by study."""
    models = compared.models
    subtitle = " · ".join(
        [
            f"{len(compared.studies)} studies",
            f"{'model' if len(models) == 1 else 'models'} {', '.join(models)}",
            f"{count(compared.studies['pairs'].sum())} pairs in all",
        ]
    )
    return join(
        [
            fill('<h1>{}</h1><p class="subtitle">{}</p>', title, subtitle),
            fill('<p class="answer">{}</p>', join(_findings(compared), " ")),
            _verdicts(compared),
        ]
    )


def _findings(compared: Comparison) -> list[Fragment]:
    """Return a sentence on the heads and one on the rankings, for each model with two studies."""
    sentences = []
    for model in compared.models:
        own = compared.heads[compared.heads["model"] == model]
        direction = directions(own)[0]
        own = own[own["direction"] == direction].drop_duplicates(["layer", "head"])
        n_studies = int(own["studies"].max())
        if n_studies < 2:
            continue
        k = int(own["k"].iloc[0])
        most = int(own["studies_in_top_k"].max())
        first = own[own["studies_in_top_k"] == most]
        names = [f"{row.layer}.{row.head}" for row in first.itertuples()]
        shared = int((own["studies_in_top_k"] > 1).sum())
        sentences.append(
            fill(
                "In {} ({}), {} of {} heads are among the first {} of more than one study "
                "(rankings in random order: {}); most often, in {} studies each, <b>{}</b>.",
                model,
                direction,
                shared,
                len(own),
                k,
                number(expected_shared(len(own), k, n_studies), 1),
                most,
                ", ".join(names[:12]) + (" and others" if len(names) > 12 else ""),
            )
        )
        sentences += _agreement(compared, model, direction)
    return sentences


def expected_shared(heads: int, k: int, studies: int) -> float:
    """How many of ``heads`` are in the first k of at least two random rankings, on average."""
    share = min(k, heads) / heads
    return float(heads * stats.binom.sf(1, studies, share))


def _agreement(compared: Comparison, model: str, direction: str) -> list[Fragment]:
    rows = compared.overlaps
    rows = rows[
        (rows["model"] == model)
        & (rows["direction"] == direction)
        & (rows["score"] == "ap")
        & (rows["of"] == "pairs")
        & (rows["agreement"] == "rank_biased_overlap")
    ]
    within = rows[rows["first"] == rows["second"]]["estimate"].dropna()
    between = rows[rows["first"] != rows["second"]]
    if within.empty or between.empty:
        return []
    told = int((between["p_adjusted"] < 0.05).sum())
    return [
        fill(
            "The rankings of two pairs of one study {} by <b>{}</b> on average ({} of 1), those "
            "of two studies by <b>{}</b> (random order: {}); {} of {} combinations of studies are "
            "told apart (corrected p below 0.05).",
            word("stability", "agree"),
            number(within.mean(), 2),
            "rank-biased overlap",
            number(between["estimate"].mean(), 2),
            number(rows["chance"].iloc[0], 2),
            told,
            len(between),
        )
    ]


def _verdicts(compared: Comparison) -> Fragment:
    """Return claims by studies, and the verdict over all of them."""
    overall = compared.claims[compared.claims["quantity"] == OVERALL]
    rows = []
    for row in overall.to_dict("records"):
        cells = [fill("{}. {}", row["claim"], row["statement"])]
        for name in compared.names:
            own = compared.claims_of[name]
            own = own[(own["claim"] == row["claim"]) & (own["quantity"] == OVERALL)]
            cells.append(verdict_mark(own["verdict"].iloc[0]) if len(own) else Fragment(""))
        rows.append([*cells, verdict_mark(row["verdict"])])
    header = ["claim", *compared.names, "over studies"]
    return table(header, rows, text=tuple(range(len(header))))
