"""Tables of a made-up study of any size, for the steps that need no model.

Heads have effects of their own, a few of them large, which vary from pair to pair; what describes
the curve follows from the effect and from how far the curve returns. The columns, their kinds and
about their spreads are those of the default study: most heads end where they began moving to, so
that monotonicity is 1 and excess range 0 in most rows; a percent of the rows lies below the floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.files.artifacts import write_table

SCORES = ("ap", "atp", "ig_joint", "ig_unsaturated")
NUMBERS_OF_HEADS = (1, 2, 3, 5, 8, 13, 21, 34)
PARTNERS_OF = 3
"""Heads of each pair and direction with a table of partners."""

OF_GRADIENTS = ["ig_joint", "ig_convergence_delta"]
"""Columns of the table of heads that the shards have beside their curves'."""


@dataclass(frozen=True)
class Shape:
    """How large a study is."""

    pairs: int
    layers: int = 30
    heads: int = 9
    directions: tuple[str, ...] = ("noising", "denoising")
    templates: int = 0

    @property
    def n_heads(self) -> int:
        return self.layers * self.heads


def tables(shape: Shape, first: int = 0, last: int | None = None) -> dict[str, pd.DataFrame]:
    """`heads`, `faithfulness`, `interaction`, `baseline` and `pairs` of the pairs from ``first`` to
    below ``last``; a pair is the same whichever others are asked for."""
    parts = [_of_pair(shape, pair) for pair in range(first, shape.pairs if last is None else last)]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def _of_pair(shape: Shape, pair: int) -> dict[str, pd.DataFrame]:
    study = np.random.default_rng(1)
    n = shape.n_heads
    effect = study.standard_normal(n) * np.exp(2.2 * study.standard_normal(n) - 4)
    returning = np.exp(1.5 * study.standard_normal(n) - 7)
    bent = study.exponential(size=n)
    template = pair % shape.templates if shape.templates else pair
    of_template = np.random.default_rng([2, template]).standard_normal(n)
    random = np.random.default_rng([3, pair])
    layers, heads = np.divmod(np.arange(n), shape.heads)
    change = 7 + random.standard_normal()
    found: dict[str, list[pd.DataFrame]] = {"heads": [], "faithfulness": [], "interaction": []}
    for sign, direction in zip((-1, 1), shape.directions, strict=False):
        ap = sign * effect * (1 + 0.2 * of_template + 0.4 * random.standard_normal(n))
        excess = returning * random.exponential(size=n) * (random.random(n) < 0.2)
        movement = np.abs(ap) + excess
        variation = movement + excess
        gradient_range = movement * bent * random.exponential(size=n)
        company = np.bincount(layers, movement)[layers] - movement
        saturation = np.round(random.random(n) * 200) / 200 * (random.random(n) < 0.1)
        ig = ap + 0.2 * gradient_range * company * random.standard_normal(n) + 1e-5
        key = {"pair": pair, "direction": direction, "layer": layers, "head": heads}
        of_heads = pd.DataFrame(
            {
                **key,
                "ap": ap,
                "ap_normalised": ap / change,
                "atp": ap + 0.3 * gradient_range * random.standard_normal(n),
                "ig_joint": ig,
                "ig_convergence_delta": 1e-5 * random.standard_normal(n),
                "ig_own": ap + 1e-5 * random.standard_normal(n),
                "output_range": 0.999 * movement,
                "output_range_closed": movement,
                "gradient_range": gradient_range,
                "gradient_range_closed": 1.001 * gradient_range,
                "total_variation": variation,
                "monotonicity": np.abs(ap) / variation,
                "excess_range": excess,
                "saturation": saturation,
                "quadrature_error": 1e-5 * random.random(n),
                "gradient_error": 1e-4 * random.random(n),
                "nodes": random.choice([3, 5, 9], n, p=[0.9, 0.08, 0.02]),
            }
        )
        found["heads"].append(of_heads)
        found["faithfulness"].append(_faithfulness(pair, direction, random))
        found["interaction"].append(_interaction(of_heads, shape, random))
    one = pd.DataFrame(
        {
            "pair": [pair],
            "row": [pair + 1],
            "clean": [f"When Tom and Anna left for the {pair}th time, Anna gave it to"],
            "corrupted": [f"When Tom and Anna left for the {pair}th time, Tom gave it to"],
            "correct": [" Tom"],
            "incorrect": [" Anna"],
            "clean_tokens": [list(range(17))],
            "corrupted_tokens": [list(range(17))],
            "correct_tokens": [[5]],
            "incorrect_tokens": [[6]],
            "length": [17],
            "first_difference": [10],
            **({"template": [f"t{template}"]} if shape.templates else {}),
        }
    )
    metric = pd.DataFrame(
        {
            "pair": [pair],
            "metric_clean": [change / 2],
            "metric_corrupted": [-change / 2],
            "logit_difference_clean": [change / 2],
            "logit_difference_corrupted": [-change / 2],
            "correct": [True],
        }
    )
    return {
        **{name: pd.concat(parts, ignore_index=True) for name, parts in found.items()},
        "baseline": metric,
        "pairs": one,
    }


def _faithfulness(pair: int, direction: str, random: np.random.Generator) -> pd.DataFrame:
    k = np.array(NUMBERS_OF_HEADS)
    parts = []
    for place, score in enumerate(SCORES):
        reached = 1 - np.exp(-k / (2 + place)) + 0.05 * random.standard_normal(len(k))
        parts.append(
            pd.DataFrame(
                {
                    "pair": pair,
                    "direction": direction,
                    "score": score,
                    "k": k,
                    "recovered": reached,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _interaction(heads: pd.DataFrame, shape: Shape, random: np.random.Generator) -> pd.DataFrame:
    gap = heads["ig_joint"] - heads["ap"]
    first = heads.loc[gap.abs().nlargest(PARTNERS_OF).index]
    parts = []
    for row in first.itertuples():
        partners = [head for head in range(shape.heads) if head != row.head]
        share = random.dirichlet(np.ones(len(partners) + 1)) * (row.ig_joint - row.ap)
        parts.append(
            pd.DataFrame(
                {
                    "pair": row.pair,
                    "direction": row.direction,
                    "layer": row.layer,
                    "head": row.head,
                    "ap": row.ap,
                    "ig_own": row.ig_own,
                    "ig_joint": row.ig_joint,
                    "partner": partners,
                    "interaction": share[:-1],
                    "remainder": share[-1],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def write_shards(folder: Path, shape: Shape, shard_size: int) -> int:
    """Write the study as the jobs of its shards would have; return how many shards.

    Beside the shards stands `pairs.parquet` of the study.
    """
    from safetensors.numpy import save_file

    pairs = []
    starts = range(0, shape.pairs, shard_size)
    for number, start in enumerate(starts):
        own = folder / "shards" / str(number)
        own.mkdir(parents=True, exist_ok=True)
        made = tables(shape, start, min(start + shard_size, shape.pairs))
        heads = made.pop("heads")
        write_table(heads.drop(columns=OF_GRADIENTS), own / "curves.parquet")
        keys = ["pair", "direction", "layer", "head"]
        write_table(heads[keys + OF_GRADIENTS], own / "integrated_gradients.parquet")
        pairs.append(made.pop("pairs"))
        for name, table in made.items():
            write_table(table, own / f"{name}.parquet")
        # As with `curves: {keep: 0}`: no pair's curves are kept.
        none = np.zeros((0, len(shape.directions), shape.layers, shape.heads, 50), dtype=np.float32)
        save_file(
            {
                "alphas": (np.polynomial.legendre.leggauss(50)[0] + 1) / 2,
                "pairs": np.zeros(0, dtype=np.int64),
                "output": none,
                "gradient": none,
            },
            own / "curves.safetensors",
        )
    write_table(pd.concat(pairs, ignore_index=True), folder / "pairs.parquet")
    return len(starts)
