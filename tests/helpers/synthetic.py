"""A made-up study with the exact files of a real one, for the tests of figures and report.

Every curve is analytic, so each measure of `heads.parquet` follows from a formula:
f(α) = f(0) + a s(α) + b sin²(πα), where a is AP, b makes the excess range and s is the straight
line or, for every fifth head, a steep step (a saturated path). No model is involved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from counterpoint.measures.tables.position_curve_table import COLUMNS as POSITION_CURVES
from counterpoint.measures.tables.position_curve_table import MEASURES as POSITION_MEASURES
from counterpoint.statistics.claims import claims
from counterpoint.statistics.correlations import correlations
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.sample_sizes import sample_sizes
from counterpoint.statistics.stability import stability
from counterpoint.statistics.variance_components import variance_components

PROMPTS = (
    (
        "After John and Mary went to the store, Mary gave a bottle of milk to",
        "After John and Mary went to the store, John gave a bottle of milk to",
        " John",
        " Mary",
    ),
    (
        "When Tom and Anna left the office, Anna sent the keys to",
        "When Tom and Anna left the office, Tom sent the keys to",
        " Tom",
        " Anna",
    ),
    (
        "Then <script>alert(1)</script> and $x_1$ met; $x_1$ paid <b>&amp; to",
        "Then <script>alert(1)</script> and $x_1$ met; <i>y</i> paid <b>&amp; to",
        ' "Ann"',
        " $x_1$",
    ),
    (
        "While Paul and Jane had lunch at the café, Jane handed the bill to",
        "While Paul and Jane had lunch at the café, Paul handed the bill to",
        " Paul",
        " Jane",
    ),
)


@dataclass(frozen=True)
class Shape:
    """The size of the made-up study."""

    pairs: int = 4
    layers: int = 4
    heads: int = 3
    directions: tuple[str, ...] = ("noising", "denoising")
    nodes: int = 50


def gauss_legendre(nodes: int) -> np.ndarray:
    """Return the Gauss-Legendre nodes on [0, 1]."""
    return (np.polynomial.legendre.leggauss(nodes)[0] + 1) / 2


def step(alphas: np.ndarray, steep: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return s(α) from 0 to 1 and its derivative: a line, or a normalised logistic step."""
    if not steep:
        return alphas, np.ones_like(alphas)

    def raw(at: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(-25 * (np.asarray(at) - 0.5)))

    span = raw(1.0) - raw(0.0)
    value = raw(alphas)
    return (value - raw(0.0)) / span, 25 * value * (1 - value) / span


def make_pairs(shape: Shape) -> pd.DataFrame:
    """Return `pairs.parquet`: the prompts above, taken in turn."""
    rows = []
    for pair in range(shape.pairs):
        clean, corrupted, correct, incorrect = PROMPTS[pair % len(PROMPTS)]
        length = 17 - pair % 3
        rows.append(
            {
                "pair": pair,
                "row": pair + 1,
                "clean": clean,
                "corrupted": corrupted,
                "correct": correct,
                "incorrect": incorrect,
                "clean_tokens": list(range(length)),
                "corrupted_tokens": list(range(length)),
                "correct_tokens": [5],
                "incorrect_tokens": [6],
                "length": length,
                "first_difference": 10,
            }
        )
    return pd.DataFrame(rows)


def make_scores(
    shape: Shape, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, np.ndarray], pd.DataFrame]:
    """Return `heads.parquet`, the tensors of `curves.safetensors` and `baseline.parquet`."""
    random = np.random.default_rng(seed)
    alphas = gauss_legendre(shape.nodes)
    fine = np.linspace(0, 1, 401)
    clean = 3.2588 + 0.4 * random.standard_normal(shape.pairs)
    corrupted = -4.4071 + 0.4 * random.standard_normal(shape.pairs)
    clean[0], corrupted[0] = 3.2588, -4.4071
    size = (shape.layers, shape.heads)
    effect = random.standard_normal(size) * np.exp(1.5 * random.standard_normal(size) - 3)
    bump = random.standard_normal(size) * np.exp(1.2 * random.standard_normal(size) - 4.5)
    if effect.size > 4:
        effect.flat[1], bump.flat[1] = 2e-6, 0.0  # a head below the floor
        effect.flat[-1] = 2.3
        effect.flat[-3], bump.flat[-3] = 0.01, 0.9  # AP near zero, movement large
    output = np.zeros((shape.pairs, len(shape.directions), *size, shape.nodes), np.float32)
    gradient = np.zeros_like(output)
    rows = []
    for pair in range(shape.pairs):
        for place, direction in enumerate(shape.directions):
            sign, start = (-1, clean[pair]) if direction == "noising" else (1, corrupted[pair])
            for layer in range(shape.layers):
                for head in range(shape.heads):
                    wobble = 1 + 0.2 * random.standard_normal()
                    a, b = sign * effect[layer, head] * wobble, bump[layer, head] * wobble
                    steep = (layer * shape.heads + head) % 5 == 4

                    def curve(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                        value, slope = step(at, steep)  # noqa: B023 - called at once
                        return (
                            a * value + b * np.sin(np.pi * at) ** 2,  # noqa: B023
                            a * slope + b * np.pi * np.sin(2 * np.pi * at),  # noqa: B023
                        )

                    f, g = curve(alphas)
                    f_fine, g_fine = curve(fine)
                    output[pair, place, layer, head] = start + f
                    gradient[pair, place, layer, head] = g
                    variation = float(np.trapezoid(np.abs(g_fine), fine))
                    closed = float(np.ptp(f_fine))
                    joint = a + 0.15 * a * random.standard_normal() + 0.02 * b
                    rows.append(
                        {
                            "pair": pair,
                            "direction": direction,
                            "layer": layer,
                            "head": head,
                            "ap": a,
                            "ap_normalised": a / (clean[pair] - corrupted[pair]),
                            "atp": float(g_fine[0]),
                            "ig_joint": joint,
                            "ig_convergence_delta": 1e-6,
                            "ig_own": a,
                            "output_range": float(np.ptp(f)),
                            "output_range_closed": closed,
                            "gradient_range": float(np.ptp(g)),
                            "total_variation": variation,
                            "monotonicity": min(1.0, abs(a) / variation) if variation else 1.0,
                            "excess_range": max(0.0, closed - abs(a)),
                            "saturation": float(
                                np.mean(np.abs(g_fine) < 0.05 * np.abs(g_fine).max())
                            ),
                            "quadrature_error": 2e-6,
                            "gradient_error": 1e-5,
                            "nodes": 9,
                        }
                    )
    curves = {
        "alphas": alphas.astype(np.float32),
        "output": output,
        "gradient": gradient,
        "pairs": np.arange(shape.pairs, dtype=np.int32),
    }
    baseline = pd.DataFrame(
        {
            "pair": range(shape.pairs),
            "metric_clean": clean,
            "metric_corrupted": corrupted,
            "correct": clean > 0,
        }
    )
    return pd.DataFrame(rows), curves, baseline


QUICK = Settings(bootstrap_samples=50, permutations=50)


def write_generated(
    folder: Path,
    *,
    found: int = 8,
    methods: tuple[str, ...] = ("descent",),
    target: tuple[int, int] = (3, 2),
) -> None:
    """Write archives, traces and validation of two target heads; the second has no pair."""
    random = np.random.default_rng(1)
    for layer, head, size in ((*target, found), (0, 1, 0)):
        place = folder / "counterfactuals" / f"{layer}.{head}"
        place.mkdir(parents=True)
        for method in methods:
            rows = [
                {
                    "method": method,
                    "seed": 0,
                    "layer": layer,
                    "head": head,
                    "clean": f"The <i>capital</i> of France {number} is",
                    "corrupted": f"The <i>capital</i> of $Spain$ {number} is",
                    "clean_tokens": [0, 1, 2],
                    "corrupted_tokens": [0, 1, 3],
                    "correct": " <b>Paris",
                    "incorrect": " Madrid",
                    "correct_token": 5,
                    "incorrect_token": 6,
                    "ld_change": float(random.uniform(0.1, 8)),
                    "evenness": float(random.uniform(-1, 1)),
                    "changed_tokens": 1,
                    "perplexity_clean": float(random.uniform(5, 90)),
                    "perplexity_corrupted": float(random.uniform(5, 90)),
                    "perplexity": 90.0,
                    "evaluations": 10 * number,
                    "non_dominated": True,
                }
                for number in range(size)
            ]
            archive = pd.DataFrame(rows, columns=list(ARCHIVE_COLUMNS))
            if not rows:
                archive.attrs["reason"] = "in 40 model evaluations no <candidate> was left"
            archive.to_parquet(place / f"{method}.parquet", index=False)
            if rows:
                archive[["method", "clean", "corrupted"]].assign(
                    rank=[1, 2, *[3] * (size - 2)],
                    margin=0.5,
                    alphas=[[0.0, 0.5, 1.0]] * size,
                    output=[[3.0, 2.0, 0.5]] * size,
                ).to_parquet(place / "validation.parquet", index=False)
            pd.DataFrame(
                {
                    "evaluations": [10, 20, 30, 10, 20, 30],
                    "seconds": [0.1, 0.2, 0.3, 0.1, 0.2, 0.4],
                    "hypervolume": [0, 0.01, 0.02, 0, 0.005, 0.04],
                    "best_ld_change": [np.nan, 2.0, 3.0, 1.0, 2.0, 5.0],
                    "seed": [0, 0, 0, 1, 1, 1],
                }
            ).to_parquet(place / f"{method}.trace.parquet", index=False)


def write_full_validation(folder: Path) -> None:
    """Replace the validation of head 3.2 by one with every column, and give head 0.1 one too.

    The first pair was transferred; the second is flagged for two short cuts.
    """
    for layer, head in ((3, 2), (0, 1)):
        place = folder / "counterfactuals" / f"{layer}.{head}"
        archive = pd.read_parquet(folder / "counterfactuals" / "3.2" / "descent.parquet")
        best = archive.nlargest(3, "ld_change")
        none = [None] * 2
        best[["method", "clean", "corrupted"]].assign(
            place=layer * 3 + head,
            rank=[1, 2, 7],
            margin=[1.75, 0.9, 0.2],
            reciprocal_rank=[1, 1 / 2, 1 / 7],
            ap=[-2.0, -1.0, -0.5],
            ap_plain=[-2.00001, -1.0, -0.5],
            margin_plain=[1.75, 0.9, 0.2],
            second="1.<0>",
            rank_denoising=2,
            rank_in_layer=1,
            ig_rank=3,
            evenness_again=0.8,
            null_rank=9.0,
            null_first=0.05,
            null_ap=0.125,
            perplexity_clean_again=20.5,
            perplexity_corrupted_again=24.5,
            loss_cap=float(np.log(30)),
            fluent=True,
            surprise=6.5,
            surprising_token=" <u>",
            repetition=0.25,
            answer_in_prompt=[False, True, False],
            answer_changed=False,
            special_tokens=False,
            punctuation_answer=False,
            answers_moved=False,
            round_trip=[True, False, True],
            transfer_contexts=[2.0, *none],
            transfer_first=[1.0, *none],
            transfer_first_five=[1.0, *none],
            transfer_ld_change=[0.75, *none],
            transfer_same_answer=[1.0, *none],
            transfer_first_declared=[0.0, *none],
            transfer_first_five_declared=[2.0, *none],
            transfer_ld_change_declared=[0.25, *none],
            transfer_perplexity=[33.0, *none],
            transfer_kept=[2.0, *none],
            transfer_clean=[["Near <the> sea, France is", "My France is"], *none],
            transfer_corrupted=[["Near <the> sea, $Spain$ is", "My $Spain$ is"], *none],
            transfer_ranks=[[1, 0], *none],
            transfer_ld_changes=[[1.5, 0.0], *none],
            alphas=[[0.0, 0.5, 1.0]] * 3,
            output=[[3.0, 2.0, 0.5]] * 3,
            head_effects=[list(range(12))] * 3,
        ).to_parquet(place / "validation.parquet", index=False)


def make_atlas(layers: int = 4, heads: int = 3, seed: int = 0) -> pd.DataFrame:
    """Return an `atlas.parquet` in which every class occurs in turn, with untrusted text in it."""
    random = np.random.default_rng(seed)
    rows = []
    for layer in range(layers):
        for head in range(heads):
            kind = (layer * heads + head) % 6
            found = kind != 5
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "clean": "The <i>baker</i> opened $the$ door" if found else None,
                    "corrupted": "The <i>poet</i> opened $the$ door" if found else None,
                    "clean_tokens": [1, 2, 3] if found else None,
                    "corrupted_tokens": [1, 4, 3] if found else None,
                    "correct": ' "a' if found else None,
                    "incorrect": " <b>" if found else None,
                    "correct_token": 5 if found else None,
                    "incorrect_token": 6 if found else None,
                    "ld_change": (2.0, 0.75, 0.25, 3.0, 1.0, np.nan)[kind],
                    "evenness": float(random.uniform(0, 1)) if found else np.nan,
                    "changed_tokens": 1 if found else None,
                    "perplexity_clean": 21.0 if found else np.nan,
                    "perplexity_corrupted": 25.0 if found else np.nan,
                    "perplexity": 25.0 if found else np.nan,
                    "loss_cap": float(np.log(30)),
                    "rank": (1, 1, 1, 1, 4, None)[kind],
                    "margin": (2.0, 1.2, 1.7, 2.0, 0.5, np.nan)[kind],
                    "second": "0.<1>" if found else None,
                    "fluent": (True, True, True, False, True, None)[kind],
                    "seed": 0,
                    "evaluations": 100,
                }
            )
    return pd.DataFrame(rows)


ARCHIVE_COLUMNS = (
    "method",
    "seed",
    "layer",
    "head",
    "clean",
    "corrupted",
    "clean_tokens",
    "corrupted_tokens",
    "correct",
    "incorrect",
    "correct_token",
    "incorrect_token",
    "ld_change",
    "evenness",
    "changed_tokens",
    "perplexity_clean",
    "perplexity_corrupted",
    "perplexity",
    "evaluations",
    "non_dominated",
)


def make_positions(shape: Shape = Shape(), seed: int = 0) -> pd.DataFrame:
    """A table like positions.parquet; tokens and spans hold what has to be escaped."""
    random = np.random.default_rng(seed)
    tokens = [" <b>", "$x_1$", " and\n", " a_very_long_token_indeed", " to"]
    spans = ["subject", "subject", "", "<i>place</i>", "end"]
    rows = [
        (pair, direction, component, layer, head, 4 + place, token, span)
        for pair in range(shape.pairs)
        for direction in shape.directions
        for component in ("attention", "head", "mlp", "residual")
        for layer in range(shape.layers)
        for head in (range(shape.heads) if component == "head" else [-1])
        for place, (token, span) in enumerate(zip(tokens, spans, strict=True))
    ]
    names = ["pair", "direction", "component", "layer", "head", "position", "token", "span"]
    table = pd.DataFrame(rows, columns=names)
    table["ap"] = random.normal(size=len(table))
    units = table.groupby(names[:5], sort=False)["ap"]
    table["ap_joint"] = units.transform("sum") + 0.25 * table["layer"]
    return table


def make_position_curves(shape: Shape = Shape(), seed: int = 0) -> pd.DataFrame:
    """A table like position_curves.parquet, of heads: f goes up and partly back."""
    random = np.random.default_rng(seed)
    table = make_positions(shape, seed)
    table = table[table["component"] == "head"].drop(columns=["ap", "ap_joint"])
    alphas = (np.polynomial.legendre.leggauss(50)[0] + 1) / 2
    rise = random.normal(size=(len(table), 1))
    bend = random.normal(size=(len(table), 1))
    zero = np.where(table["direction"] == "noising", 3.0, -3.0)[:, None]
    output = zero + rise * alphas + bend * alphas * (1 - alphas)
    gradient = rise + bend * (1 - 2 * alphas)
    numbers = {
        name: np.abs(random.normal(size=len(table)))
        for name in POSITION_MEASURES
        if name not in ("ap", "resolved")
    }
    table = table.assign(ap=rise[:, 0], **numbers, resolved=True)
    table["output_range_closed"] = np.ptp(output, axis=1)
    table["output"], table["gradient"] = list(output), list(gradient)
    return table[list(POSITION_CURVES)].reset_index(drop=True)


def write_study(folder: Path, shape: Shape = Shape(), *, seed: int = 0) -> Path:
    """Write every file of a study below ``folder`` but its figures, and return ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    heads, curves, baseline = make_scores(shape, seed)
    make_pairs(shape).to_parquet(folder / "pairs.parquet", index=False)
    pd.DataFrame(
        {
            "row": [shape.pairs + 1],
            "clean": ["<script>alert('dropped')</script> $"],
            "corrupted": ["short"],
            "correct": [" a"],
            "incorrect": [None],
            "reason": ["clean has 9 tokens, corrupted 1: <b>equal</b> lengths are needed"],
        }
    ).to_csv(folder / "dropped.csv", index=False)
    baseline.to_parquet(folder / "baseline.parquet", index=False)
    heads.to_parquet(folder / "heads.parquet", index=False)
    save_file(curves, folder / "curves.safetensors")
    correlations(heads, settings=QUICK).to_csv(folder / "correlations.csv", index=False)
    stability(heads, settings=QUICK).to_csv(folder / "stability.csv", index=False)
    sample_sizes(heads, settings=QUICK).to_csv(folder / "sample_sizes.csv", index=False)
    variance_components(heads, settings=QUICK).to_csv(folder / "variance.csv", index=False)
    claims(heads, settings=QUICK).to_csv(folder / "claims.csv", index=False)
    (folder / "provenance.json").write_text(
        json.dumps(
            {
                "counterpoint": "0.1.0",
                "config": {"model": "<img src=x onerror=alert(1)>", "statistics": {"seed": 0}},
                "versions": {"numpy": np.__version__},
                "durations": {"curves": 12.5},
            }
        ),
        encoding="utf-8",
    )
    return folder
