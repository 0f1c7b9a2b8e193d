"""All that the explorer shows of a study, as one text (`packed_arrays`).

The header says what there is; arrays hold numbers. Scores are exact as float32 holds them. Curves
are quantised (`quantised_curves`): f − f(0), f(0) being the unpatched metric, and g.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from counterpoint.figures.chosen_heads import Head
from counterpoint.report.explorer.atlas_measures import atlas_measures
from counterpoint.report.explorer.composed_pairs import composed_pairs
from counterpoint.report.explorer.head_partners import edges, partners
from counterpoint.report.explorer.kept_curves import BACKGROUND, NAMES, kept_pairs, read_curves
from counterpoint.report.explorer.measure_arrays import (
    Measure,
    Study,
    description,
    head_measures,
    position_measures,
    role_measures,
)
from counterpoint.report.explorer.packed_arrays import pack
from counterpoint.report.explorer.pair_choice import (
    MOST_CURVES,
    MOST_SCORES,
    QUANTILES,
    spread_out,
)
from counterpoint.report.explorer.predicted_arrays import without_what_is_known
from counterpoint.report.explorer.prompt_pieces import position_effects, prompt_pieces
from counterpoint.report.explorer.quantised_curves import LEVELS, largest_error, quantise
from counterpoint.report.study_results import Results
from counterpoint.statistics.resampling import Settings

Arrays = dict[str, np.ndarray]

CURVES = "curves.safetensors"


def explorer_data(results: Results) -> str:
    """Return the packed data of a study's explorer."""
    header, arrays = explorer_arrays(results)
    arrays, header["predicted"] = without_what_is_known(arrays, metric_changes(header))
    return pack(header, arrays)


def metric_changes(header: Mapping[str, Any]) -> Float32[np.ndarray, " pair"]:
    """Return the metric of the clean prompt − that of the corrupted one, of the shown pairs."""
    changes = [pair["metric_clean"] - pair["metric_corrupted"] for pair in header["pairs"]]
    return np.array(changes, dtype="<f4")


def explorer_arrays(results: Results) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays that `explorer_data` packs."""
    heads: list[Head] = sorted(
        {(int(a), int(b)) for a, b in results.heads[["layer", "head"]].to_numpy()}
    )
    places = {head: place for place, head in enumerate(heads)}
    names, all_pairs = results.directions, [int(pair) for pair in results.baseline["pair"]]
    each = len(heads) * len(names)
    shown = spread_out(all_pairs, each, MOST_SCORES)
    settings = Settings(**results.settings.get("statistics", {}))
    study = Study(names, heads, settings, results.words, results.heads)
    measures = [
        *head_measures(results.heads, study),
        *(role_measures(results.roles, study) if results.roles is not None else ()),
        *(position_measures(results.positions, study) if results.positions is not None else ()),
    ]
    described, arrays = _measure_arrays(measures, shown)
    for about, values in atlas_measures(results.atlas, places):
        described.append(description(about, (), 0, True) | {"fixed": True})
        arrays[f"fixed.{about.key}"] = values.astype("<f4")
    kept = kept_pairs(results.folder / CURVES)
    # Of a study that has kept the curves of some pairs, those, wherever they stand.
    wanted = spread_out(shown if len(kept) == len(all_pairs) else kept, each, MOST_CURVES)
    drawn, curve_arrays, error = _curve_arrays(results, heads, wanted)
    effects, effect_arrays = position_effects(results.positions, shown, names, heads)
    ranks = np.array([int(results.places[head]["rank"]) for head in heads], dtype="<u2")
    floor = np.array([results.means[names[0], *head]["at_floor"] for head in heads], dtype="|u1")
    header = {
        "study": results.study,
        "folder": f"results/{results.study}",
        "model": str(results.settings.get("model", "")),
        "pairs_file": str(results.settings.get("pairs", "")),
        "metric": results.words.name,
        "short": results.words.short,
        "unit": results.words.unit,
        "directions": list(names),
        "confidence": settings.confidence,
        "drawn": results.drawn,
        "pairs": _pairs(results, shown),
        "pairs_in_all": len(all_pairs),
        "quantiles": list(QUANTILES),
        "measures": described,
        "curves": {
            "pairs": drawn,
            "error": error,
            "levels": LEVELS,
            "whole": [True] * len(drawn),
            "kept": len(kept),
            # What the file beside the page must look like to be of this study.
            "order": list(results.settings.get("directions", results.directions)),
        },
        "positions": effects,
        "partners": partners(results.interaction, names, places),
        "edges": edges(results.edges, names, places),
        "composed": composed_pairs(results.generated, results.atlas, results.tokens, places),
    }
    own = {
        "layer": np.array([layer for layer, _ in heads], dtype="<u2"),
        "head": np.array([head for _, head in heads], dtype="<u2"),
        "rank": ranks,
        "at_floor": floor,
        # With these the page can draw f − f(0) of any pair of curves.safetensors.
        "all.pairs": np.array(all_pairs, dtype="<i4"),
        **{
            f"all.{name}": results.baseline[f"metric_{name}"].to_numpy("<f4")
            for name in ("clean", "corrupted")
        },
    }
    return header, {**own, **arrays, **curve_arrays, **effect_arrays}


def _measure_arrays(
    measures: Sequence[Measure], shown: Sequence[int]
) -> tuple[list[dict[str, Any]], Arrays]:
    """The descriptions of the measures, and their arrays by name.

    ``values.{key}`` [direction, pair, head] of the shown pairs; ``low.`` and ``high.`` [direction,
    head]; where not all pairs are shown also ``mean.``, ``spread.`` and ``quantiles.``
    """
    described, arrays = [], {}
    for one in measures:
        kept = [place for place, pair in enumerate(one.pairs) if int(pair) in set(shown)]
        whole = len(kept) == len(one.pairs)
        key = one.about.key
        pairs = [int(one.pairs[place]) for place in kept]
        described.append(description(one.about, pairs, len(one.pairs), whole))
        arrays[f"values.{key}"] = one.scores[:, kept].astype("<f4")
        if len(one.pairs) > 1:
            arrays[f"low.{key}"], arrays[f"high.{key}"] = (
                end.astype("<f4") for end in (one.low, one.high)
            )
        if not whole:
            arrays[f"mean.{key}"] = one.means().astype("<f4")
            arrays[f"spread.{key}"] = one.spreads().astype("<f4")
            arrays[f"quantiles.{key}"] = one.quantiles().astype("<f4")
    return described, arrays


def _pairs(results: Results, shown: Sequence[int]) -> list[dict[str, Any]]:
    """The pairs as cards show them."""
    wanted = set(shown)
    rows, metrics = (
        {int(row["pair"]): row for row in table[table["pair"].isin(wanted)].to_dict("records")}
        for table in (results.pairs, results.baseline)
    )
    return [
        {
            "number": number,
            **prompt_pieces({str(key): one for key, one in rows[number].items()}, results.tokens),
            "correct": str(rows[number]["correct"]),
            "incorrect": str(rows[number]["incorrect"]),
            "metric_clean": float(metrics[number]["metric_clean"]),
            "metric_corrupted": float(metrics[number]["metric_corrupted"]),
        }
        for number in shown
    ]


def _curve_arrays(
    results: Results, heads: Sequence[Head], wanted: Sequence[int]
) -> tuple[list[int], Arrays, float | None]:
    """The pairs that are drawn, the quantised curves by name, and the largest error of f.

    ``f.ends``, ``f.steps``, ``g.ends`` and ``g.steps``: the curves of every pair, direction and
    head, in this order; ``alphas`` are the nodes.
    """
    stored, tensors = read_curves(results.folder / CURVES, wanted)
    if not stored:
        return [], {}, None
    order = list(results.settings.get("directions", results.directions))
    turned = [order.index(name) for name in results.directions]
    layers, numbers = (np.array(each) for each in zip(*heads, strict=True))
    start = results.baseline.set_index("pair").loc[stored]
    begins = [start[BACKGROUND[one]].to_numpy(float) for one in results.directions]
    arrays: Arrays = {"alphas": tensors["alphas"].astype("<f4")}
    error = None
    for name, tensor in NAMES.items():
        if tensor not in tensors:
            continue
        chosen = tensors[tensor][:, turned][:, :, layers, numbers].astype(np.float64)
        if name == "f":
            chosen -= np.stack(begins, axis=1)[:, :, None, None]
        curves = quantise(chosen.reshape(-1, chosen.shape[-1]))
        arrays[f"{name}.ends"], arrays[f"{name}.steps"] = curves.ends, curves.steps
        if name == "f":
            errors = largest_error(curves)
            error = float(np.nanmax(errors)) if np.isfinite(errors).any() else None
    return stored, arrays, error
