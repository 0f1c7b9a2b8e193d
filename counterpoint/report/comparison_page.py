"""The page that compares studies: its parts in reading order.

Each function takes `Comparison` and returns a `Fragment`; fixed prose stands in the notebook
``reports/comparison.ipynb``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from counterpoint.figures.comparison_figures import FIGURES, choose_heads
from counterpoint.glossary import AGREEMENTS, signed_label, size_label
from counterpoint.glossary.metric_words import metric_words, of_whole_answers
from counterpoint.report.comparison_headline import headline
from counterpoint.report.comparison_results import Comparison, load_comparison
from counterpoint.report.explorer.comparison_data import comparison_data
from counterpoint.report.explorer_section import explorer
from counterpoint.report.html import (
    Fragment,
    count,
    figure,
    fill,
    folded,
    interval,
    join,
    note,
    number,
    p_value,
    paragraph,
    table,
    word,
)
from counterpoint.report.section_parts import verdict_mark
from counterpoint.statistics.claim_quantities import CHECKS, DECISIVE, OVERALL
from counterpoint.statistics.claim_verdicts import REFUTED, SUPPORTED, UNDECIDED
from counterpoint.statistics.panel import directions

__all__ = [
    "claims",
    "correlations",
    "explore",
    "files",
    "headline",
    "heads",
    "load_comparison",
    "overlaps",
    "studies",
]

NAMED_HEADS = 5
"""First heads that are named for each study."""


def _drawn(compared: Comparison, name: str, alt: str, caption: Any) -> Fragment:
    path = compared.folder / "figures" / f"{name}.svg"
    if not path.exists():
        return note(f"The figure “{FIGURES[name]}” was not drawn ({path.name} is missing).")
    return figure(path, alt, caption)


def explore(compared: Comparison) -> Fragment:
    """Return the section with the explorer of the heads in all studies."""
    return explorer(
        "Explore the heads in every task",
        fill(
            "<p>Every {} in every study: its {}, AP and curve in each, the pair on which it does "
            "most, and the way to the study's own page. Point at a head on the map, or type its "
            "name (23.3); a click pins up to three side by side.</p>",
            word("head"),
            word("rank", "rank"),
        ),
        {model: comparison_data(compared, model) for model in compared.models},
    )


def studies(compared: Comparison) -> Fragment:
    """Return what is compared: pairs, the model's accuracy, the first heads of each study."""
    header = [
        "study", "task", "model", "pairs", "right on clean prompts", word("metric", "metric"),
        "clean, mean", "corrupted, mean", word("floor", "heads at the floor"),
        f"first {NAMED_HEADS} heads by |AP|",
    ]  # fmt: skip
    rows = []
    for row in compared.studies.to_dict("records"):
        own = compared.heads[compared.heads["study"] == row["study"]]
        first = directions(own)[0]
        own = own[own["direction"] == first].nsmallest(NAMED_HEADS, "rank")
        rows.append(
            [
                fill('<a href="../{}/report.html">{}</a>', row["study"], row["study"]),
                row["title"],
                row["model"],
                count(row["pairs"]),
                f"{row['right']} ({number(100 * row['accuracy'], 0)} %)",
                metric_words(row["metric"]).short,
                number(row["metric_clean"], 2),
                number(row["metric_corrupted"], 2),
                f"{row['at_floor']} of {row['heads']}",
                f"{', '.join(f'{head.layer}.{head.head}' for head in own.itertuples())} ({first})",
            ]
        )
    return join([table(header, rows, text=(0, 1, 2, 5, 9)), _metrics(compared)])


def _metrics(compared: Comparison) -> Fragment:
    """Return what is to be kept in mind where the metric is not the logit difference alone."""
    said = []
    if len(compared.metrics) > 1:
        said.append(
            "The studies have different metrics, so means, ranges and the heads at the floor are "
            "not in one unit; shares, ranks and correlations can be compared."
        )
    one_sided = [metric_words(name) for name in compared.metrics if metric_words(name).one_sided]
    said += [
        f"With the {words.name} no share is negative in noising, so it says how much the "
        "prediction hangs on a head and not whether the head helps."
        for words in one_sided
    ]
    if compared.metrics != ["logit_difference"]:
        whole = any(map(of_whole_answers, compared.metrics))
        also = " (of whole answers, their log odds)" if whole else ""
        said.append(f"Right on clean prompts is by the logit difference{also} whatever the metric.")
    return note(" ".join(said)) if said else Fragment("")


def heads(compared: Comparison) -> Fragment:
    """Return which heads matter in which study: figure, and a table for each model."""
    parts = [
        _drawn(
            compared,
            "heads",
            "Heat map, heads by studies, of the share of the metric's change that each carries.",
            "Blue: the head moves the metric towards its value on the other prompt, red: away from "
            "it. Numbers "
            "are ranks by mean |AP|, bold among the first. Shown are heads that are among the "
            "first in most studies, then those of the largest shares.",
        )
    ]
    for model in compared.models:
        own = compared.heads[compared.heads["model"] == model]
        for direction in directions(own):
            parts.append(_heads_of(own[own["direction"] == direction], model, direction))
    parts.append(note("Every head of every study stands in heads.csv."))
    return join(parts)


def _heads_of(rows: pd.DataFrame, model: str, direction: str) -> Fragment:
    names = list(dict.fromkeys(rows["study"]))
    grouped: Any = rows.groupby(["layer", "head"])
    by_head = {(int(layer), int(head)): own.set_index("study") for (layer, head), own in grouped}
    k = int(rows["k"].iloc[0])
    body = []
    for layer, head in choose_heads(rows, model):
        own = by_head[layer, head]
        cells = [f"{number(own.loc[name, 'share'], 2)} ({own.loc[name, 'rank']})" for name in names]
        body.append([f"{layer}.{head}", *cells, int(own["studies_in_top_k"].iloc[0])])
    listing = table(
        [word("head", "head"), *names, f"studies with it in the first {k}"],
        body,
        caption=fill("{} (and rank).", word("share", "Share of the metric's change")),
    )
    # The page's script leads from a head's name to its card, of this model.
    return fill('<div data-model="{}">{}</div>', model, folded(f"{model}, {direction}", listing))


def overlaps(compared: Comparison) -> Fragment:
    """Return how far rankings agree within and between studies."""
    rows = compared.overlaps
    if rows.empty:
        return note("No two studies are of one model, so there are no rankings to compare.")
    k = int(rows["k"].iloc[0])
    header = [
        "studies", "model", "direction", "ranked by", "rankings by", "agreement", "estimate",
        "by chance", word("p-value", "p"), "p corrected", "remark",
    ]  # fmt: skip
    names = {**AGREEMENTS, "jaccard": f"Jaccard at {k}"}
    body = [
        [
            row["first"] if row["first"] == row["second"] else f"{row['first']}, {row['second']}",
            row["model"],
            row["direction"],
            size_label(row["score"]),
            "single pairs" if row["of"] == "pairs" else "means over pairs",
            names[row["agreement"]],
            interval(row["estimate"], row["ci_low"], row["ci_high"]),
            number(row["chance"], 2),
            p_value(row["p_permutation"]),
            p_value(row["p_adjusted"]),
            row["note"] if isinstance(row["note"], str) else "",
        ]
        for row in rows.to_dict("records")
    ]
    return join(
        [
            _drawn(
                compared,
                "overlaps",
                "Matrix, studies by studies, of the agreement of the rankings of two pairs.",
                "Rank-biased overlap of the rankings by |AP| of two pairs, mean; on the diagonal "
                "two pairs of one study. A star: pairs of one study agree better than pairs of "
                "both (corrected p below 0.05).",
            ),
            folded(
                f"The numbers ({len(body)} rows)", table(header, body, text=(0, 1, 2, 3, 4, 5, 10))
            ),
        ]
    )


def claims(compared: Comparison) -> Fragment:
    """Return each claim over the studies: figure, deciding parts, and the others folded."""
    boxes = []
    for claim, rows in compared.claims.groupby("claim", sort=False):
        whole = rows[rows["quantity"] == OVERALL].iloc[0]
        checks = rows[rows["quantity"].isin(CHECKS)]
        found = rows[~rows["quantity"].isin(CHECKS)]
        deciding = found[found["role"] == DECISIVE]
        other = found[~found["role"].isin([DECISIVE, OVERALL])]
        boxes.append(
            fill(
                '<div class="claim" id="claim-{}"><p><b>Claim {}.</b> {} {}</p>'
                '<p class="note">{}</p>{}{}{}</div>',
                claim,
                claim,
                whole["statement"],
                verdict_mark(whole["verdict"]),
                whole["explanation"],
                _parts(deciding, len(compared.studies)),
                folded(f"{len(other)} more numbers", _parts(other, len(compared.studies))),
                folded(
                    f"{len(checks)} identities: they check the computation and are no finding",
                    _parts(checks, len(compared.studies)),
                )
                if len(checks)
                else "",
            )
        )
    return join(
        [
            _drawn(
                compared,
                "claims",
                "Intervals of the numbers that decide the claims, by study, and their average.",
                "Dotted: what a study must reach. Below the line the average over studies.",
            ),
            *boxes,
        ]
    )


def _parts(rows: pd.DataFrame, n_studies: int) -> Fragment:
    header = [
        "number", "direction", word("average", "average"), "lowest, highest", "I²",
        "supported, refuted, undecided", "verdict",
    ]  # fmt: skip
    body = [
        [
            row["statement"],
            row["direction"],
            interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
            f"{number(row['lowest'], 3)}, {number(row['highest'], 3)}",
            number(row["heterogeneity"], 2),
            ", ".join(str(row[name]) for name in (SUPPORTED, REFUTED, UNDECIDED)),
            verdict_mark(row["verdict"]),
        ]
        for row in rows.to_dict("records")
    ]
    return table(header, body, text=(0, 1, 5, 6), caption=f"Over {n_studies} studies.")


def correlations(compared: Comparison) -> Fragment:
    """Return the correlations averaged over studies, those of the output range first."""
    rows = compared.correlations
    if rows.empty:
        return note("No correlation could be computed in these studies.")
    main = rows[(rows["measure"] == "output_range") & rows["score"].isin(["abs_ap", "ap"])]
    return join(
        [
            _drawn(
                compared,
                "correlations",
                "Correlations of measures with scores, by study, and their average.",
                "Small marks are studies, large ones the average with its interval.",
            ),
            _correlation_table(main),
            folded(f"All {len(rows)} correlations", _correlation_table(rows)),
        ]
    )


def _correlation_table(rows: pd.DataFrame) -> Fragment:
    header: Sequence[Any] = [
        "measure", "score", "direction", "method", word("average", "average"), "lowest, highest",
        "I²", "studies", "above 0", "below 0",
    ]  # fmt: skip
    body = [
        [
            signed_label(row["measure"]),
            signed_label(row["score"]),
            row["direction"],
            row["method"],
            interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
            f"{number(row['lowest'], 3)}, {number(row['highest'], 3)}",
            number(row["heterogeneity"], 2),
            row["studies"],
            row["above_zero"],
            row["below_zero"],
        ]
        for row in rows.to_dict("records")
    ]
    return table(
        header,
        body,
        text=(0, 1, 2, 3),
        caption="Above and below 0: studies whose interval lies wholly there.",
    )


def files(compared: Comparison) -> Fragment:
    """Return where the numbers stand."""
    return paragraph(
        "Tables beside this page: studies.csv, heads.csv, overlaps.csv, claims.csv, "
        "correlations.csv; figures in figures/. Settings, versions and seeds of each study stand "
        "in the provenance of its own report."
    )
