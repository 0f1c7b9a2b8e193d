"""How far the identities hold in the numbers of a study."""

from __future__ import annotations

import pandas as pd

from counterpoint.report.claims_section import checks
from counterpoint.report.html import Fragment, count, fill, join, number, small, table, word
from counterpoint.report.study_results import Results
from counterpoint.statistics import panel


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
    return join([table(["check", "value", "meaning"], rows, text=(0, 2)), checks(results)])


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
                fill(
                    "column <code>resolved</code>; their quadrature error says how far they may be "
                    "off. More points (<code>curves.max_nodes</code>) resolve more"
                ),
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
            fill(
                "rounding in the number format of this study ({}); it takes the place of "
                "<code>statistics.floor</code>, {}, and identities are judged by it",
                results.dtype,
                f"{results.floor_asked:g}",
            ),
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
                    fill(
                        "after <code>integrated_gradients.max_steps</code> the convergence delta "
                        "is still above the tolerance; column <code>ig_resolved</code>"
                    ),
                ]
            )
    return rows
