"""The parts of the report that stand on a study's own scores, in reading order.

Each function takes `Results` and returns a `Fragment`, empty when the study has nothing to show
there. Fixed prose stands in the notebook; here is what depends on the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.study_figures import (
    AGREEMENTS,
    FIGURES,
    LABELS,
    METHODS,
    ap_intervals,
    choose_heads,
    faithfulness_curves,
    figure_svg,
    find_correlation,
    head_names,
    interaction_sums,
    mlp_layers,
    rank_heads,
    size_label,
)
from counterpoint.glossary.metric_words import FLAT_START, NO_SLOPE, ONE_SIGN
from counterpoint.pairs.pair_files import PAIR_COLUMNS, PROMPTS
from counterpoint.report.doubtful_pairs_section import doubtful_rows, doubts
from counterpoint.report.html import (
    Fragment,
    answer,
    count,
    figure,
    fill,
    folded,
    heading,
    image,
    interval,
    join,
    note,
    number,
    p_value,
    paragraph,
    prompt,
    small,
    table,
    tiles,
    word,
)
from counterpoint.report.study_results import Results
from counterpoint.statistics import panel
from counterpoint.statistics.claim_verdicts import DESCRIBED, REFUTED, SUPPORTED
from counterpoint.statistics.interaction_partners import by_head, own_path_errors

SHOWN_ROWS = 12
"""Rows of a long table shown at once; the rest is folded."""
FOLDED_ROWS = 300
"""Most rows of a folded table; beyond them the reader is sent to the file."""

VERDICTS = {SUPPORTED: "holds", REFUTED: "fails", DESCRIBED: "plain"}
"""The look of each verdict; any other is shown as undecided."""


def _words(names: Sequence[str], last: str = "and") -> str:
    """Return names as a list in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"


def _drawn(results: Results, name: str, alt: str, caption: Any) -> Fragment:
    """Return a figure of `draw_figures`, or a remark when its file is not there."""
    path = results.figure(name)
    if not path.exists():
        return note(f"The figure “{FIGURES[name]}” was not drawn ({path.name} is missing).")
    return figure(path, alt, caption)


def verdict_mark(verdict: Any) -> Fragment:
    """Return a verdict in its look."""
    text = str(verdict)
    return fill('<span class="verdict {}">{}</span>', VERDICTS.get(text, "unclear"), text)


def _main_correlation(results: Results, score: str) -> tuple[str, pd.Series | None]:
    """Return (direction, row) of Pearson(output range, score) in the study's first direction."""
    direction = results.directions[0]
    return direction, find_correlation(results.correlations, direction, "output_range", score)


def headline(results: Results, title: str) -> Fragment:
    """Return title, answer in a few sentences, key numbers and the verdicts."""
    n_pairs = len(results.baseline)
    subtitle = join(
        [
            fill("study <b>{}</b>", results.study),
            fill("model <b>{}</b>", results.settings.get("model", "unknown")),
            f"{count(n_pairs)} {'pair' if n_pairs == 1 else 'pairs'}",
            f"{count(results.n_heads)} {'head' if results.n_heads == 1 else 'heads'}",
            results.words.name,
            _words(results.directions),
        ],
        " · ",
    )
    return join(
        [
            fill('<h1>{}</h1><p class="subtitle">{}</p>', title, subtitle),
            _answer(results),
            doubts(results),
            tiles(_key_numbers(results)),
            _verdict_list(results),
        ]
    )


def _answer(results: Results) -> Fragment:
    """Return the findings as two or three sentences."""
    ranked = rank_heads(results.heads)
    names = head_names(ranked[ranked["abs_ap"] >= results.floor].head(5))
    strongest = [f"{layer}.{head}" for layer, head in names]
    main, words = results.directions[0], results.words
    if strongest:
        ap = results.means[main, *names[0]]["ap"]
        one = len(strongest) == 1
        sentences = [
            fill(
                "The {} that {} {} most {} <b>{}</b>; patching {} alone changes the {} by {} {} on "
                "average ({}).",
                *(("head", "moves") if one else ("heads", "move")),
                words.first,
                "is" if one else "are",
                _words(strongest),
                strongest[0],
                words.name,
                number(ap, 2),
                words.unit,
                main,
            )
        ]
    else:
        sentences = [
            fill(
                "<b>No head moves {}</b>: patching any of them alone changes the {} by less than "
                "{} {} on average, which is rounding.",
                words.first,
                words.name,
                f"{results.floor:g}",
                words.unit,
            )
        ]
    _, absolute = _main_correlation(results, "abs_ap")
    direction, signed = _main_correlation(results, "ap")
    defined = [row is not None and math.isfinite(row["estimate"]) for row in (absolute, signed)]
    if absolute is not None and signed is not None and all(defined):
        found = fill(
            "Over heads, the {} correlates with {} at Pearson <b>{}</b>",
            word("output-range", "output range"),
            word("ap", "|AP|"),
            interval(absolute["estimate"], absolute["ci_low"], absolute["ci_high"]),
        )
        if not words.one_signed([main]):
            found += fill(
                ", and with {} at <b>{}</b>",
                word("ap", "AP with its sign"),
                interval(signed["estimate"], signed["ci_low"], signed["ci_high"]),
            )
        sentences.append(Fragment(found + fill(" ({}).", direction)))
    return fill('<p class="answer">{}</p>', join(sentences, " "))


def _key_numbers(results: Results) -> list[tuple[Any, Any, Any]]:
    short = results.words.short
    clean, corrupted = results.baseline["metric_clean"], results.baseline["metric_corrupted"]
    pair = int(results.baseline["pair"].iloc[0])
    right = results.baseline["correct"].astype(bool)
    low = _below_floor(results)
    entries: list[tuple[Any, Any, Any]] = [
        (
            f"{short} on clean prompts, mean",
            number(clean.mean(), 2),
            results.words.clean or f"pair {pair}: {number(clean.iloc[0], 4)}",
        ),
        (
            f"{short} on corrupted prompts, mean",
            number(corrupted.mean(), 2),
            f"pair {pair}: {number(corrupted.iloc[0], 4)}",
        ),
        (
            "correct answer preferred",
            f"{int(right.sum())} of {len(right)}",
            "clean prompts" if results.metric == "logit_difference" else "clean prompts, by the LD",
        ),
    ]
    compared = [("abs_ap", "|AP|"), ("ap", "AP, signed")]
    if results.words.one_signed(results.directions[:1]):
        compared = compared[:1]
    for score, label in compared:
        direction, row = _main_correlation(results, score)
        if row is not None:
            ends = f"[{number(row['ci_low'], 2)}, {number(row['ci_high'], 2)}] "
            known = math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"])
            entries.append(
                (
                    f"Pearson(output range, {label})",
                    number(row["estimate"], 3) if math.isfinite(row["estimate"]) else "not defined",
                    f"{ends if known else ''}{direction}",
                )
            )
    entries.append(
        (
            word("floor", "heads below the floor of rounding"),
            f"{len(low)} of {results.n_heads}",
            f"range < {results.floor:g}, {results.directions[0]}",
        )
    )
    return entries


def _below_floor(results: Results) -> list[str]:
    """Return the heads at the floor on the mean, in the first direction."""
    return [
        f"{layer}.{head}"
        for (direction, layer, head), row in results.means.items()
        if direction == results.directions[0] and row["at_floor"]
    ]


def _verdict_list(results: Results) -> Fragment:
    if results.claims is None or results.claims.empty:
        return Fragment("")
    items = [
        fill(
            "<li>{} {}</li>",
            verdict_mark(_overall(rows)["verdict"]),
            _overall(rows)["statement"],
        )
        for _, rows in results.claims.groupby("claim", sort=False)
    ]
    return fill(
        '<p><a href="#claims">The three claims</a>, on this study:</p><ol class="verdicts">{}</ol>',
        join(items),
    )


def pairs(results: Results) -> Fragment:
    """Return the prompt pairs with the model's answers on both prompts."""
    right = results.baseline.rename(columns={"correct": "right"})
    # The file's own columns may have any name.
    merged = results.pairs[[name for name in PAIR_COLUMNS if name in results.pairs]]
    merged = merged.merge(right, on="pair")
    columns = {"metric": results.words.short}
    if results.metric != "logit_difference" and "logit_difference_clean" in merged:
        columns = {"logit_difference": "LD", **columns}
    header = ["pair", "clean and corrupted prompt", "correct", "incorrect", "tokens"]
    header += [f"{name} {prompt}" for name in columns.values() for prompt in PROMPTS]

    def rows(part: pd.DataFrame) -> list[list[Any]]:
        return [
            [
                row["pair"],
                fill("{}<br>{}", *results.tokens.difference(row)),
                answer(row["correct"]),
                answer(row["incorrect"]),
                row["length"],
                *[number(row[f"{name}_{prompt}"], 4) for name in columns for prompt in PROMPTS],
            ]
            for row in part.to_dict("records")
        ]

    file = results.settings.get("pairs")
    difference = results.logit_difference("corrupted")
    also = (
        ""
        if difference is None
        else f" and on {int((difference > 0).sum())} of {len(merged)} corrupted ones"
    )
    parts = [
        paragraph(
            f"The model prefers the correct answer on {int(merged['right'].sum())} of "
            f"{len(merged)} clean prompts{also}. Where the prompts of a pair differ is marked.",
            fill(" The pairs come from {}.", file) if file else "",
        ),
        doubtful_rows(results),
        table(header, rows(merged.head(SHOWN_ROWS)), text=(1, 2, 3)),
    ]
    rest = merged.iloc[SHOWN_ROWS:FOLDED_ROWS]
    if len(rest):
        parts.append(folded(f"{len(rest)} more pairs", table(header, rows(rest), text=(1, 2, 3))))
    if len(merged) > FOLDED_ROWS:
        parts.append(note(f"All {count(len(merged))} pairs stand in pairs.parquet."))
    if results.card is not None:
        card = fill('<pre class="card">{}</pre>', results.card)
        parts.append(folded("The whole pair set: its data card", card))
    return join(parts)


def heads(results: Results) -> Fragment:
    """Return the heads of largest effect: what signs say, figure, table with intervals."""
    confidence = float(results.statistic("confidence", 0.95))
    seed, top_k = int(results.statistic("seed", 0)), int(results.statistic("top_k", 10))
    ranked = rank_heads(results.heads).head(max(top_k, 10))
    n_pairs = results.heads["pair"].nunique()
    means = results.means
    header: list[Any] = [word("head", "head")]
    header += [fill("{}, {}", word("ap", "AP"), name) for name in results.directions]
    main = results.directions[0]
    header += [
        word("ap-normalised", "AP normalised"),
        word("ig-joint"), word("output-range"), word("gradient-range"), word("excess-range"),
        word("stability", "mean rank"), f"in the top {top_k}, % of resamples",
    ]  # fmt: skip
    rows = []
    found = {
        direction: ap_intervals(
            results.heads, direction, confidence=confidence, seed=seed, metric=results.metric
        )
        for direction in results.directions
    }
    for layer, head in head_names(ranked):
        cells: list[Any] = [f"{layer}.{head}"]
        for direction in results.directions:
            cells.append(interval(*found[direction][layer, head], digits=3))
        mean = means[main, layer, head]
        names = ("ap_normalised", "ig_joint", "output_range", "gradient_range", "excess_range")
        cells += [number(mean[name], 3) for name in names]
        place = results.places[layer, head]
        cells += [number(place["mean_rank"], 1), number(100 * place["top_k_share"], 0)]
        rows.append(cells)
    below = _below_floor(results)
    alt = (
        f"Dot plot of AP for the {len(ranked)} heads of largest mean absolute AP; the first is "
        f"{rows[0][0]}."
    )
    remark = (
        f"Means over {n_pairs} pairs; in brackets the {_percent(confidence)} interval over pairs, "
        "widened for their small number."
        if n_pairs > 1
        else "One pair, so no interval over pairs and no other ranking."
    )
    remark += f" AP, IG joint and ranges are in {results.words.unit}. The columns after AP: {main}."
    return join(
        [
            paragraph(results.words.sign(results.directions)),
            _drawn(
                results, "top_heads", alt,
                "AP of the strongest heads: small marks are pairs, large marks their mean, bars "
                f"the {_percent(confidence)} interval of the mean over pairs."
                if n_pairs > 1
                else "AP of the strongest heads on the only pair.",
            ),
            table(header, rows, caption=remark),
            paragraph(
                fill(
                    "{} of {} heads lie below the {} (their curves move by less than {}, {}).",
                    len(below), results.n_heads, word("floor"),
                    f"{results.floor:g} {results.words.unit}", main,
                )
            ),
            folded("Heads below the floor", paragraph(", ".join(below))) if below else "",
        ]
    )  # fmt: skip


def _framed(n_heads: int) -> str:
    """Which heads the maps frame."""
    return "the five heads of largest |AP|" if n_heads > 5 else "heads by |AP| (all of so few)"


def heat_maps(results: Results) -> Fragment:
    """Return the heat maps: mean over pairs, and the first pair folded below."""
    pair = int(results.heads["pair"].min())
    marks = (
        f"{'Rows of maps are directions. ' if len(results.directions) > 1 else ''}"
        "Colours go with the root of the value, so that weak "
        "heads show too; AP and IG joint share one scale, blue above 0 and red below. "
        f"Framed: {_framed(results.n_heads)}. A dot marks a head below the floor of rounding "
        f"(its curve moves by less than {results.floor:g} {results.words.unit})."
    )
    what = "Heat maps, layer by head, of AP, IG joint, output range and gradient range"
    return join(
        [
            _drawn(
                results, "heat_maps", f"{what}, means over the pairs.",
                f"Means over the pairs. {marks}",
            ),
            folded(
                f"The same for pair {pair} alone",
                _drawn(
                    results, "heat_maps_first_pair", f"{what}, of pair {pair}.",
                    f"Pair {pair}. {marks}",
                ),
            ),
        ]
    )  # fmt: skip


def relations(results: Results) -> Fragment:
    """Return regressions and correlations; the two of the output range stand first."""
    confidence = _percent(float(results.statistic("confidence", 0.95)))
    parts = [
        paragraph(_what_signs_ask(results)),
        _two_correlations(results),
        _drawn(
            results, "regressions",
            "Six scatter plots over heads with regression lines: output range against absolute "
            "AP, output range against signed AP, gradient range against absolute AP, IG joint "
            "against AP, absolute disagreement against excess range, AtP against AP.",
            f"One mark per head{' and direction' if len(results.directions) > 1 else ''}, means "
            "over pairs; lines with "
            f"{confidence} bands (bootstrap over heads); hollow grey marks lie below the "
            "floor of rounding and are left out of the lines. The strongest heads are named. The r "
            "in each panel is Pearson's over the marks, with its interval over heads.",
        ),
    ]  # fmt: skip
    if results.correlations is not None and not results.correlations.empty:
        parts += [
            heading("correlations", "All correlations", 3),
            _drawn(
                results, "correlations",
                "Tables of the correlations of measures with scores, coloured by size.",
                f"Correlations over heads, means of the pairs' own, with {confidence} intervals; "
                "bold: the interval leaves out 0.",
            ),
            folded("The numbers", _correlation_table(results)),
        ]  # fmt: skip
    return join(parts)


def _what_signs_ask(results: Results) -> str:
    """What a correlation with AP and its sign says beside one with |AP|."""
    words = results.words
    one_signed = words.one_signed(results.directions)
    said = []
    if len(one_signed) < len(results.directions):
        said.append(
            "A correlation with AP and its sign asks something else: whether heads that raise the "
            f"{words.name} move more than those that lower it."
        )
    return " ".join([*said, *([ONE_SIGN] if one_signed else [])])


def _two_correlations(results: Results) -> Fragment:
    """Return the correlations of the output range with |AP| and with signed AP."""
    first_pair = int(results.heads["pair"].min())
    n_pairs = results.heads["pair"].nunique()
    scopes: list[tuple[str, int | None, str]] = [("study", None, f"all {n_pairs}")]
    if n_pairs > 1:
        scopes.append(("pair", first_pair, f"{first_pair}"))
    rows, missing = [], []
    for score in ("abs_ap", "ap"):
        for direction in results.directions:
            for scope, pair, name in scopes:
                found = [
                    find_correlation(
                        results.correlations, direction, "output_range", score,
                        method=method, scope=scope, pair=pair,
                    )
                    for method in METHODS
                ]  # fmt: skip
                known = [row for row in found if row is not None]
                if not known:
                    continue
                missing += [row.to_dict() for row in known if not math.isfinite(row["estimate"])]
                rows.append(
                    [
                        fill("with <b>{}</b>", LABELS[score]),
                        direction,
                        name,
                        *[
                            number(None)
                            if row is None
                            else interval(row["estimate"], row["ci_low"], row["ci_high"], 3)
                            for row in found
                        ],
                        p_value(known[0]["p_permutation"]),
                        count(known[0]["n"] / (n_pairs if scope == "study" else 1)),
                    ]
                )
    if not rows:
        return note("No correlations were computed for this study.")
    header = [
        "output range", "direction", "pairs", *[method.capitalize() for method in METHODS],
        word("p-value", "p"), "heads",
    ]  # fmt: skip
    shown = table(
        header, rows, text=(0, 1, 2),
        caption=fill(
            "The output range against the size of AP, and against AP with its sign: two "
            "different questions, each under its own label. Over heads; for several pairs the "
            "mean of the pairs' own. {} in brackets.",
            word("interval", "Intervals"),
        ),
    )  # fmt: skip
    undefined = pd.DataFrame(missing)
    remark = note(_capital(_reasons(undefined)), ".") if missing else Fragment("")
    return join([shown, remark])


def _correlation_table(results: Results) -> Fragment:
    assert results.correlations is not None
    rows = results.correlations[results.correlations["scope"] == "study"]
    body = [
        [
            LABELS.get(row["measure"], row["measure"]),
            LABELS.get(row["score"], row["score"]),
            row["direction"],
            row["method"],
            interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
            p_value(row["p_permutation"]),
            p_value(row["p_adjusted"]),
            interval(row["partial_given_layer"], row["partial_ci_low"], row["partial_ci_high"], 3),
            count(row["n"]),
            _missing_as(row["note"], ""),
        ]
        for _, row in rows.iterrows()
    ]
    header = [
        "measure", "score", "direction", "method", "estimate", word("p-value", "p"),
        "p corrected", word("partial", "within layers"), "n", "remark",
    ]  # fmt: skip
    return join(
        [
            table(header, body, text=(0, 1, 2, 3, 9)),
            note("Those of every single pair stand in correlations.csv."),
        ]
    )


def shown_heads(results: Results) -> list[tuple[int, int, str]]:
    """Return the heads whose curves the study shows, with the reasons."""
    report = results.settings.get("report", {})
    return choose_heads(results.heads, int(report.get("heads_shown", 6)), report.get("heads") or ())


def curves(results: Results) -> Fragment:
    """Return the curves of chosen heads and their shape in numbers."""
    chosen = shown_heads(results)
    means = results.means
    names = ["ap", "total_variation", "monotonicity", "excess_range", "saturation", "ig_joint"]
    header = [
        "head", "why shown", "direction", word("ap", "AP"), word("total-variation"),
        word("monotonicity"), word("excess-range"), word("saturation"), word("ig-joint"),
    ]  # fmt: skip
    rows = [
        [
            f"{layer}.{head}", reason, direction,
            *[number(means[direction, layer, head][name], 3) for name in names],
        ]
        for layer, head, reason in chosen
        for direction in results.directions
    ]  # fmt: skip
    listed = _words([f"{layer}.{head}" for layer, head, _ in chosen])
    return join(
        [
            note(FLAT_START) if results.words.flat(results.directions) else "",
            _drawn(
                results, "curves", f"Output curves and gradients of the heads {listed}.",
                f"Above f(α) − f(0), below g(α), both in {results.words.unit}; thin lines are "
                "pairs, thick ones their mean. α = 0 is the background, α = 1 the other prompt.",
            ),
            folded("Their shape in numbers (means)", table(header, rows, text=(0, 1, 2))),
        ]
    )  # fmt: skip


def claims(results: Results) -> Fragment:
    """Return each claim with its verdict, the parts that decide it, and the others folded."""
    if results.claims is None or results.claims.empty:
        return note("The claims were not tested in this study (claims.csv is not there).")
    boxes: list[Any] = []
    if results.words.flat(results.directions):
        boxes.append(note(FLAT_START))
    for claim, rows in results.claims.groupby("claim", sort=False):
        whole = _overall(rows)
        decisive = rows[rows["role"] == "decisive"]
        other = rows[~rows["role"].isin(["decisive", "overall"])]
        boxes.append(
            fill(
                '<div class="claim" id="claim-{}"><p>{} <b>Claim {}.</b> {}</p>'
                '<p class="note">{}</p>{}{}</div>',
                claim,
                verdict_mark(whole["verdict"]),
                claim,
                whole["statement"],
                _missing_as(whole["explanation"], ""),
                _claim_parts(decisive),
                folded(f"{len(other)} more numbers", _claim_parts(other)) if len(other) else "",
            )
        )
    return join(boxes)


def _overall(rows: pd.DataFrame) -> dict[Any, Any]:
    """Return the row with the verdict on a whole claim (the first, where none is called so)."""
    whole = rows[rows["quantity"] == "overall"]
    return (whole if len(whole) else rows).iloc[0].to_dict()


def _claim_parts(rows: pd.DataFrame) -> Fragment:
    """Return each tested statement with its rule and its numbers in every direction."""
    header = ["direction", "estimate", "p", "n", "verdict", "what it says"]
    parts = []
    for name, own in rows.groupby("quantity", sort=False):
        first = own.iloc[0].to_dict()
        rule = _missing_as(first["rule"], "")
        body = [
            [
                row["direction"],
                interval(row["estimate"], row["ci_low"], row["ci_high"], 3),
                p_value(row["p_value"]),
                count(row["n"]),
                verdict_mark(row["verdict"]),
                _missing_as(row["explanation"], ""),
            ]
            for row in own.to_dict("records")
        ]
        parts.append(
            fill(
                '<p class="tested">{} <span class="note">{}{}</span></p>{}',
                first["statement"],
                name,
                f"; supported if {rule}" if rule else "",
                table(header, body, text=(0, 4, 5)),
            )
        )
    return join(parts)


def _missing_as(value: Any, instead: Any) -> Any:
    """Return ``instead`` for None and NaN (an empty cell of a CSV)."""
    return instead if value is None or value != value else value


def stability(results: Results) -> Fragment:
    """Return how far the rankings of heads hold across pairs and resamples."""
    if results.stability is None or results.stability.empty:
        return note("The stability of rankings was not computed in this study.")
    known = results.stability[results.stability["estimate"].notna()]
    unknown = results.stability[results.stability["estimate"].isna()]
    if known.empty:
        return note("There are no rankings to compare: ", _reasons(unknown), ".")
    k = int(known["k"].iloc[0])
    words = {**AGREEMENTS, "spearman": "Spearman", "kendall_w": "Kendall’s W"}
    rows = [
        [
            size_label(row["score"]),
            row["direction"],
            row["between"],
            words.get(row["agreement"], row["agreement"]),
            interval(row["estimate"], row["ci_low"], row["ci_high"]),
            number(row["chance"], 2),
        ]
        for row in known.to_dict("records")
    ]
    header = ["ranked by", "direction", "between", "agreement", "estimate", "by chance"]
    return join(
        [
            _drawn(
                results, "stability", "Agreement of the rankings of heads between pairs.",
                f"Agreement of the rankings of two pairs, mean over all two (k = {k}); hollow "
                "marks: rankings in random order.",
            ),
            folded("The numbers", table(header, rows, text=(0, 1, 2, 3))),
            note(
                "between pairs: the rankings of two pairs; between resamples: the ranking of the "
                "study and that of the same number of pairs drawn anew."
            ),
            note("Not given: ", _named_reasons(unknown), ".") if len(unknown) else "",
        ]
    )  # fmt: skip


def _reasons(rows: pd.DataFrame) -> str:
    """Return the different remarks of a table."""
    return "; ".join(dict.fromkeys(text for text in rows["note"] if _missing_as(text, "")))


def _named_reasons(rows: pd.DataFrame) -> str:
    """Return which rankings cannot be compared in which direction, and why."""
    said = [
        f"{size_label(row['score'])}, {row['direction']} ({_missing_as(row['note'], 'undefined')})"
        for row in rows.to_dict("records")
    ]
    return "; ".join(dict.fromkeys(said))


def _frame(frame: pd.DataFrame, caption: Any = "") -> Fragment:
    """Return any table as it is, long ones folded."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    whole = [pd.api.types.is_integer_dtype(frame[name]) for name in frame.columns]

    def cell(value: Any, column: int) -> Any:
        if whole[column]:
            return str(value)
        if numeric[column]:
            return number(value, 3)
        return _missing_as(value, "")

    rows = [
        [cell(value, column) for column, value in enumerate(row)]
        for row in frame.head(FOLDED_ROWS).itertuples(index=False)
    ]
    text = tuple(column for column, flag in enumerate(numeric) if not flag)
    header = [name.replace("_", " ") for name in frame.columns]
    shown = table(header, rows, text=text, caption=caption)
    return folded(f"{len(frame)} rows", shown) if len(frame) > SHOWN_ROWS else shown


def _drawn_here(picture: Figure, alt: str, caption: Any) -> Fragment:
    """Return a figure that only some studies have and the report itself draws."""
    return fill(
        "<figure>{}<figcaption>{}</figcaption></figure>",
        image(figure_svg(picture), "svg+xml", alt),
        caption,
    )


SHOWN_PARTNERS = 3
"""Partners named for each head that disagrees."""


def _interactions(table_of: pd.DataFrame, heads: pd.DataFrame) -> Fragment:
    """Return with whom the heads interact on which IG joint and AP differ most."""
    keys = ["direction", "layer", "head"]
    sums = (
        table_of.assign(disagreement=table_of["ig_joint"] - table_of["ap"])
        .groupby(["pair", *keys], sort=False)
        .agg(
            ap=("ap", "first"),
            ig_joint=("ig_joint", "first"),
            disagreement=("disagreement", "first"),
            interaction=("interaction", "sum"),
            remainder=("remainder", "first"),
        )
        .reset_index()
    )
    rows = []
    for (direction, layer, head), own in sums.groupby(keys, sort=False):
        same = (table_of["direction"] == direction) & (table_of["layer"] == layer)
        mine = table_of[same & (table_of["head"] == head)]
        by_partner = mine.groupby("partner")["interaction"].mean()
        first = by_partner.sort_values(key=abs, ascending=False).head(SHOWN_PARTNERS)
        partners = [f"{layer}.{other} ({number(value, 2)})" for other, value in first.items()]
        means = own[["ap", "ig_joint", "disagreement", "interaction", "remainder"]].mean()
        rows.append(
            (
                abs(float(means["disagreement"])) * len(own),
                [
                    f"{layer}.{head}",
                    direction,
                    len(own),
                    *[number(value, 3) for value in means],
                    ", ".join(partners),
                ],
            )
        )
    rows.sort(key=lambda row: -row[0])
    header = [
        "head", "direction", "pairs", word("ap", "AP"), word("ig-joint"), word("disagreement"),
        "with single partners", "remainder", "strongest partners (mean)",
    ]  # fmt: skip
    listing = [cells for _, cells in rows]
    heads_alone = by_head(table_of)
    missed = own_path_errors(heads_alone, heads)[0].max()
    accounted, cases = int(heads_alone["accounted"].sum()), heads_alone["accounted"].count()
    return join(
        [
            heading("interaction", "Why IG and AP disagree"),
            paragraph(
                "On its own path a head's integrated gradients are its AP, so every ",
                word("disagreement"),
                " comes from heads of the same layer that move along. Here it is split, for the "
                "heads on which it is largest, over single partners that move with the head; the "
                "remainder needs three or more heads at once. Single partners account for more "
                f"than half of it in {accounted} of {cases} cases (a head on a pair, in "
                "a direction). In all of them the head's own path, integrated once more, gives AP "
                f"to within {small(missed)}.",
            ),
            _drawn_here(
                interaction_sums(sums),
                "Disagreement against the sum of the interactions with single partners.",
                "One mark per pair and head. On the dotted line single partners explain all of the "
                "disagreement.",
            ),
            table(header, listing[:SHOWN_ROWS], text=(0, 1, 8)),
            folded(f"{len(listing) - SHOWN_ROWS} more", table(header, listing[SHOWN_ROWS:],
                   text=(0, 1, 8))) if len(listing) > SHOWN_ROWS else "",
        ]
    )  # fmt: skip


def with_an_order(results: Results) -> pd.DataFrame | None:
    """Return the table of faithfulness without scores that lie below the floor on every head.

    What the first heads by such a score recover is what an order of rounding errors recovers.
    """
    table_of = results.faithfulness
    if table_of is None or table_of.empty:
        return table_of
    scores = [name for name in dict.fromkeys(table_of["score"]) if name in results.heads]
    largest = results.heads[scores].abs().groupby(results.heads["direction"]).max()
    nothing = {
        (direction, score)
        for direction in largest.index
        for score in scores
        if largest.loc[direction, score] < results.floor
    }
    keys = zip(table_of["direction"], table_of["score"], strict=True)
    return table_of[[key not in nothing for key in keys]]


def reasons(results: Results) -> Fragment:
    """Return why IG joint and AP disagree and which score is faithful, where it was measured."""
    parts: list[Any] = []
    if results.interaction is not None and not results.interaction.empty:
        parts.append(_interactions(results.interaction, results.heads))
    elif results.interaction is not None and not results.heads["head"].any():
        parts.append(
            note(
                "Every head is alone in its layer, so no other moves along: IG joint is IG on the "
                "own path, which is AP."
            )
        )
    faithful = with_an_order(results)
    if faithful is not None and not faithful.empty:
        parts += [
            heading("faithfulness", "Faithfulness of the scores"),
            paragraph(
                word("faithfulness", "Faithfulness"),
                " of the heads that each score puts first. ",
                NO_SLOPE if results.words.flat(results.directions) else "",
            ),
            _drawn_here(
                faithfulness_curves(faithful),
                "Share of the metric's change recovered against the number of heads patched.",
                "Share of the metric's change recovered by the first k heads by each score, mean "
                "over pairs.",
            ),
        ]
    return join(parts)


def extras(results: Results) -> Fragment:
    """Return the section that only some studies have: MLP layers."""
    parts: list[Any] = []
    if results.mlps is not None and not results.mlps.empty:
        columns = ["ap", "output_range", "gradient_range", "excess_range", "ig_joint"]
        columns = [name for name in columns if name in results.mlps]
        means = results.mlps.groupby(["direction", "layer"], sort=False)[columns].mean()
        parts += [
            heading("mlps", "MLP layers"),
            paragraph(
                "The same measures for the output of whole MLP layers. "
                + results.words.sign(results.directions, what="layer")
            ),
            _drawn_here(
                mlp_layers(results.mlps, metric=results.metric),
                "AP and output range of MLP layers by depth.",
                "Thin lines are pairs, thick ones their mean.",
            ),
            folded("The numbers (means over pairs)", _frame(means.reset_index())),
        ]
    return join(parts)


def dropped(results: Results) -> Fragment:
    """Return the rows of the pair file that were left out, with reasons."""
    if results.dropped.empty:
        return paragraph("No row of the pair file was left out.")
    names = ["row", "clean", "corrupted", "correct", "incorrect", "reason"]

    def shown(value: Any, name: str) -> Any:
        if _missing_as(value, "") == "" or name in ("row", "reason"):
            return _missing_as(value, "")
        return (prompt if name in ("clean", "corrupted") else answer)(value)

    body = [
        [shown(row[name], name) for name in names]
        for _, row in results.dropped.head(FOLDED_ROWS).iterrows()
    ]
    listing = table(names, body, text=(1, 2, 3, 4, 5))
    if len(results.dropped) > FOLDED_ROWS:
        listing = join([listing, note("The rest stands in dropped.csv.")])
    return join(
        [
            paragraph(
                f"{len(results.dropped)} of {len(results.dropped) + len(results.pairs)} rows of "
                "the pair file were left out. Row 1 is the first after the header."
            ),
            folded("Rows and reasons", listing) if len(body) > SHOWN_ROWS else listing,
        ]
    )


def exactness(results: Results) -> Fragment:
    """Return how far the identities hold in the numbers of this study."""
    scores = results.heads
    own = panel.value(scores, "own_path_error")
    slack = scores["output_range_closed"] - scores["ap"].abs()
    kept = int(scores["nodes"].sum()) if "nodes" in scores else None
    equal = results.baseline["metric_clean"] == results.baseline["metric_corrupted"]
    unmoved = scores["pair"].isin(results.baseline["pair"][equal])
    # A share of no change is not missing but does not exist.
    undefined = int((unmoved & scores["ap_normalised"].isna()).sum())
    missing = int(scores.isna().to_numpy().sum()) - undefined
    rows = [
        ["rows in heads.parquet", count(len(scores)), "pairs × directions × heads"],
        ["missing values", count(missing), "should be 0"],
        [
            fill(
                "largest |{}{} − AP|",
                word("ig-own", "IG on the own path"),
                " + jumps" if panel.value(scores, "jumps").gt(0).any() else "",
            ),
            small(own.max()),
            "0 up to rounding and quadrature, by completeness",
        ],
        *_jumps(scores),
        [
            "smallest (output range on [0, 1] − |AP|)",
            small(slack.min()),
            "never below 0 but for rounding",
        ],
        [
            fill("largest {}", word("quadrature-error")),
            small(scores["quadrature_error"].max()),
            "estimated by the adaptive rule, with rounding",
        ],
        *_rounding(results),
        [
            "largest |convergence delta| of IG joint",
            small(scores["ig_convergence_delta"].abs().max()),
            "sum over a layer's heads − the effect of patching the whole layer",
        ],
        *_unfinished(scores),
    ]
    if undefined:
        rows.append(
            [
                "values of AP normalised that are not defined",
                count(undefined),
                f"the metric is the same on both prompts of {int(equal.sum())} pairs",
            ]
        )
    if "gradient_error" in scores:
        rows.append(["largest error bound of g", small(scores["gradient_error"].max()), ""])
    if kept is not None:
        mean = kept / max(1, len(scores))
        rows.append(["evaluations per curve, mean", number(mean, 1), f"{count(kept)} in all"])
    return table(["check", "value", "meaning"], rows, text=(0, 2))


def _jumps(scores: pd.DataFrame) -> list[list[Fragment | str]]:
    """Rows about curves that jump, and about such as stayed unresolved; none for a dense model."""
    rows: list[list[Fragment | str]] = []
    jumps = panel.value(scores, "jumps")
    if jumps.gt(0).any():
        largest = scores["jump_total"].abs().max()
        rows += [
            [
                fill("curves with a {}", word("jump", "jump")),
                f"{count(int(jumps.gt(0).sum()))} of {count(len(scores))}",
                f"{count(int(jumps.sum()))} jumps, found and located: routers choose other experts "
                "on the way",
            ],
            [
                "largest |sum of a curve's jumps|",
                small(largest),
                "the part of AP that no gradient along the path sees",
            ],
        ]
    unresolved = int((~panel.value(scores, "resolved").astype(bool)).sum())
    if unresolved:
        rows.append(
            [
                "curves that stayed unresolved",
                f"{count(unresolved)} of {count(len(scores))}",
                "column resolved; their quadrature error says how far they may be off. More points "
                "(curves.max_nodes) resolve more",
            ]
        )
    return rows


def _rounding(results: Results) -> list[list[Fragment | str]]:
    """A row about the floor of rounding where it is above the setting of the statistics."""
    if results.floor <= results.floor_asked:
        return []
    return [
        [
            word("floor"),
            small(results.floor),
            f"rounding in the number format of this study ({results.dtype}); it takes the place of "
            f"statistics.floor, {results.floor_asked:g}, and identities are judged by it",
        ]
    ]


def _unfinished(scores: pd.DataFrame) -> list[list[Fragment | str]]:
    """Rows about layers whose convergence delta is no error, and about such where it is one."""
    rows: list[list[Fragment | str]] = []
    total = scores.get("ig_jump_total")
    if total is not None and total.abs().gt(0).any():
        left = (scores["ig_convergence_delta"] + total).abs().max()
        rows.append(
            [
                "largest |convergence delta + jumps| of IG joint",
                small(left),
                "0 up to rounding and quadrature: the delta of a layer is the sum of the jumps on "
                "the path of all its heads, with the other sign",
            ]
        )
    if "ig_resolved" in scores:
        layers = scores.drop_duplicates(["pair", "direction", "layer"])
        unfinished = int((~layers["ig_resolved"].astype(bool)).sum())
        if unfinished:
            rows.append(
                [
                    "layers whose IG joint did not converge",
                    f"{count(unfinished)} of {count(len(layers))}",
                    "after integrated_gradients.max_steps the convergence delta is still above the "
                    "tolerance; column ig_resolved",
                ]
            )
    return rows


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted key, text) in their order."""
    if isinstance(value, dict) and value:
        return [
            entry
            for key, inner in value.items()
            for entry in _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, float) and not math.isfinite(value):
        return [(prefix, number(value))]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(str(item) for item in value) or "none")]
    return [(prefix, "not set" if value is None else str(value))]


def _records(value: dict[str, Any]) -> Fragment | None:
    """Return named records of equal fields (such as durations by rule) as a table, else None."""
    inner = list(value.values())
    if not all(isinstance(record, dict) and record.keys() == inner[0].keys() for record in inner):
        return None
    fields = list(inner[0])
    body = [
        [name, *(number(record[field], 1) if isinstance(record[field], float) else record[field]
                 for field in fields)]
        for name, record in value.items()
    ]  # fmt: skip
    return table(["what", *[field.replace("_", " ") for field in fields]], body)


def provenance(results: Results) -> Fragment:
    """Return what the study was made with: config, versions, model, seeds, device, durations."""
    made = results.provenance or {"settings": dict(results.settings)}
    plain = [
        entry
        for key, value in made.items()
        if not isinstance(value, dict)
        for entry in _flatten(value, str(key))
    ]
    parts = [table(["what", "value"], plain, text=(0, 1))] if plain else []
    for key, value in made.items():
        if isinstance(value, dict) and value:
            rows = _flatten(value)
            listing = _records(value) or table(["what", "value"], rows, text=(0, 1))
            title = f"{str(key).replace('_', ' ')} ({len(value)})"
            parts.append(folded(title, listing, opened=len(rows) <= SHOWN_ROWS))
    parts.append(
        note(
            "All tables and figures stand beside this page: heads.parquet, baseline.parquet, "
            "correlations.csv, claims.csv, figures/. The executed notebook is report.ipynb."
        )
    )
    return join(parts)
