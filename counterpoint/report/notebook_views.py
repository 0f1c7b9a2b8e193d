"""A study in a notebook: its tables as DataFrames, its figures as matplotlib's, both to go on from.

The page is made of the same results by the sections; what is returned here holds no HTML. Numbers
are in full, signs are the tables' own, and a figure's axes can be changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from counterpoint.errors import UserError
from counterpoint.figures.curve_figures import read_curves
from counterpoint.figures.heat_map_figures import heat_maps
from counterpoint.figures.study_figures import FIGURES, draw_figures
from counterpoint.figures.top_head_figures import ap_intervals
from counterpoint.glossary import label
from counterpoint.report.section_figures import section_figures
from counterpoint.report.study_results import PathLike, Results, load_results

RANKS = ("mean_rank", "top_k_share")
"""What is said of a head's place by |AP| among all (`statistics.stability.ranking`)."""

KEYS = ["direction", "layer", "head"]


def open_study(folder: PathLike = ".") -> Results:
    """Read a study's results from its folder, ``results/{study}``, wherever that now is.

    Name and settings are those of its ``provenance.json``. Where the model's tokenizer stands in
    its place beside the folder, ``../../resources/models/{model}/``, prompts are split by it.
    Raises UserError for a folder that holds no study.
    """
    folder = Path(folder)
    record = folder / "provenance.json"
    if not record.exists():
        raise UserError(
            f"{folder.resolve()} holds no provenance.json, so it is no study's folder; name one "
            "that the workflow has made, as results/ioi"
        )
    made = json.loads(record.read_text(encoding="utf-8"))
    settings = made["settings"]
    models = folder.resolve().parent.parent / "resources" / "models"
    tokenizer = models / str(settings["model"]) / "tokenizer.json"
    return load_results(
        str(made["study"]), folder, settings, tokenizer if tokenizer.exists() else None
    )


def table(results: Results, name: str) -> pd.DataFrame:
    """Return a table of a study by its name, one of `tables`: numbers in full, to be changed.

    Raises UserError for a name that the study has no table of.
    """
    make = TABLES[name][1] if name in TABLES else None
    found = None if make is None else make(results)
    if found is None:
        raise UserError(
            f"study {results.study!r} has no table {name!r}; it has "
            f"{', '.join(tables(results).index)}"
        )
    return found.copy()


def tables(results: Results) -> pd.DataFrame:
    """Return what tables a study has: their names, numbers of rows and what they hold."""
    rows = {}
    for name, (holds, make) in TABLES.items():
        found = make(results)
        if found is not None:
            rows[name] = (len(found), holds)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["rows", "holds"])


def figure(results: Results, name: str) -> Figure:
    """Return a figure of a study by its name, one of `figures`, drawn anew and to be changed.

    Raises UserError for a name that the study has no figure of.
    """
    if name in FIGURES:
        return _of_every_study(results, name)
    found = section_figures(results)
    if name not in found:
        raise UserError(
            f"study {results.study!r} has no figure {name!r}; it has "
            f"{', '.join([*FIGURES, *found])}"
        )
    return found[name].draw()


def figures(results: Results) -> pd.DataFrame:
    """Return what figures a study has: their names and what they show."""
    titles = FIGURES | {name: one.title for name, one in section_figures(results).items()}
    return pd.DataFrame.from_dict(titles, orient="index", columns=["shows"])


def head_map(
    results: Results, measure: str, *, direction: str | None = None, pair: int | None = None
) -> Figure:
    """Draw one measure of every head as a map, layer by head.

    ``measure`` is a column of ``heads.parquet`` or of `mean_over_pairs`; ``direction`` is one of
    the study's (without it a map for each), ``pair`` a pair's number (without it the mean over
    pairs). Raises UserError for a measure, direction or pair that the study has not.
    """
    rows = results.heads
    for column, wanted in (("direction", direction), ("pair", pair)):
        if wanted is None:
            continue
        known = list(dict.fromkeys(rows[column].tolist()))
        if wanted not in known:
            raise UserError(f"the study has no {column} {wanted!r}; it has {known}")
        rows = rows[rows[column] == wanted]
    drawn = heat_maps(rows, [measure], floor=results.floor)
    of = "mean over pairs" if pair is None else f"pair {pair}"
    drawn.suptitle(f"{label(measure)}, {of}", fontsize="medium")
    return drawn


def _of_every_study(results: Results, name: str) -> Figure:
    """Draw one of the figures that every study has, as the workflow does."""
    shown = results.settings.get("report", {})
    correlations, stability = results.correlations, results.stability
    if correlations is None or stability is None:
        raise UserError(
            f"the figure {name!r} needs correlations.csv and stability.csv in {results.folder}"
        )
    return draw_figures(
        results.heads,
        results.baseline,
        read_curves(results.folder / "curves.safetensors", results.directions),
        correlations,
        stability,
        floor=results.floor_asked,
        confidence=float(results.statistic("confidence", 0.95)),
        seed=int(results.statistic("seed", 0)),
        heads_shown=int(shown.get("heads_shown", 6)),
        configured=[(int(layer), int(head)) for layer, head in shown.get("heads", ())],
        top_k=int(results.statistic("top_k", 10)),
        metric=results.metric,
        resample=str(results.statistic("resample", "auto")),
        names=[name],
    )[name]


# ----------------------------------------------------------------------------------------- tables


def _key_numbers(results: Results) -> pd.DataFrame:
    """What the tiles of the page say, with a name for each."""
    right = results.baseline["correct"].astype(bool)
    short, unit = results.words.short, results.words.unit
    rows = {
        "pairs": (len(right), ""),
        "heads": (results.n_heads, ""),
        f"{short} on clean prompts, mean": (results.baseline["metric_clean"].mean(), unit),
        f"{short} on corrupted prompts, mean": (results.baseline["metric_corrupted"].mean(), unit),
        "correct answer preferred on clean prompts": (int(right.sum()), "pairs"),
        "heads below the floor of rounding": (len(results.below_floor), ""),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "unit"])


def _heads(results: Results) -> pd.DataFrame:
    """Every head's means over pairs, with the interval of AP and its place; strongest first."""
    rows = pd.DataFrame(list(results.means.values()))
    found = {
        direction: ap_intervals(
            results.heads,
            direction,
            confidence=float(results.statistic("confidence", 0.95)),
            seed=int(results.statistic("seed", 0)),
            metric=results.metric,
            resample=str(results.statistic("resample", "auto")),
        )
        for direction in results.directions
    }
    keys = list(rows[KEYS].itertuples(index=False, name=None))
    for place, end in ((1, "ap_low"), (2, "ap_high")):
        rows[end] = [found[direction][layer, head][place] for direction, layer, head in keys]
    for name in RANKS:
        rows[name] = [results.places[layer, head].get(name) for _, layer, head in keys]
    first = [*KEYS, "ap", "ap_low", "ap_high"]
    rows = rows[[*first, *rows.columns.difference(first, sort=False)]]
    strongest = rows.groupby(["layer", "head"])["abs_ap"].transform("mean")
    order = rows.assign(strongest=strongest).sort_values(
        ["strongest", "layer", "head"], ascending=[False, True, True], kind="stable"
    )
    return order.drop(columns="strongest").reset_index(drop=True)


def _pairs(results: Results) -> pd.DataFrame:
    measured = results.baseline.rename(columns={"correct": "correct_preferred"})
    fresh = [name for name in measured if name not in results.pairs or name == "pair"]
    return results.pairs.merge(measured[fresh], on="pair")


def _roles(results: Results) -> pd.DataFrame | None:
    if results.roles is None:
        return None
    return results.roles.pivot_table(index=KEYS, columns="role", values="ap").reset_index()


def _generated(results: Results) -> pd.DataFrame | None:
    """The pairs of every target and method; behind them what validation says of those it tried."""
    parts = []
    for one in results.generated:
        found = [archive for archive in one.methods.values() if len(archive)]
        if not found:
            continue
        pairs = pd.concat(found, ignore_index=True)
        checked = one.validation
        if checked is not None and len(checked):
            keys = [name for name in ("method", "clean", "corrupted") if name in checked]
            fresh = checked.columns.difference(pairs.columns, sort=False).to_list()
            pairs = pairs.merge(checked[[*keys, *fresh]].drop_duplicates(keys), on=keys, how="left")
        parts.append(pairs)
    return pd.concat(parts, ignore_index=True) if parts else None


def _edges(results: Results) -> pd.DataFrame | None:
    if results.edges is None:
        return None
    names = [str(name) for name in results.edges]
    keys = ["direction", *(name for name in names if name.startswith(("sender_", "receiver_")))]
    measured = results.edges.select_dtypes("float").columns
    return results.edges.groupby([*keys, "role"], sort=False)[list(measured)].mean().reset_index()


def _field(name: str) -> Callable[[Results], pd.DataFrame | None]:
    """The table that the results hold under this name; none for an empty one."""

    def get(results: Results) -> pd.DataFrame | None:
        found: Any = results
        for part in name.split("."):
            found = getattr(found, part, None)
        return found if found is not None and len(found) else None

    return get


TABLES: dict[str, tuple[str, Callable[[Results], pd.DataFrame | None]]] = {
    "key numbers": ("the study in a few numbers", _key_numbers),
    "heads": ("every head: means over pairs, the interval of AP, its mean rank", _heads),
    "pairs": ("the prompts, the answers, and the metric on both prompts", _pairs),
    "dropped": ("rows of the pair file that were left out, and why", _field("dropped")),
    "correlations": ("measures of the curve with scores, over heads", _field("correlations")),
    "claims": ("the three claims, with the numbers that decide them", _field("claims")),
    "stability": ("how far the rankings of heads agree between pairs", _field("stability")),
    "sample sizes": ("how many pairs the first heads take", _field("sample_sizes")),
    "variance": ("of what AP varies: templates, pairs, directions", _field("variance")),
    "interaction": ("what single partners add to IG joint", _field("interaction")),
    "faithfulness": ("what the first heads by each score recover", _field("faithfulness")),
    "score agreement": ("how far scores without patching agree with AP", _field("score_agreement")),
    "mlps": ("the measures of MLP layers", _field("mlps")),
    "positions": ("AP at single positions", _field("positions")),
    "position curves": ("curves at single positions", _field("position_curves")),
    "roles": ("AP of query, key, value and pattern, means over pairs", _roles),
    "edges": ("effects of senders through receivers, means over pairs", _edges),
    "circuits": ("small sets of nodes, in the order they are taken in", _field("circuits.members")),
    "circuits of edges": ("small sets of edges", _field("edge_circuits.members")),
    "answers": ("what the first heads do to answers", _field("answers")),
    "answer tokens": ("tokens that they raise and lower most", _field("answer_tokens")),
    "without bos": ("agreement with AP without the token before prompts", _field("agreement")),
    "generated": ("the pairs composed for the target heads, with their checks", _generated),
    "atlas": ("for every head the pair on which it matters most", _field("atlas")),
    "methods": ("the methods of searching compared", _field("methods")),
}
"""The tables of a study by name: what each holds, and how it is had."""
