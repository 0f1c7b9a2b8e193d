"""Tables of heads made from known laws, for the tests of the statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd


def table_of_heads(
    columns: dict[str, np.ndarray], *, layers: int = 1, direction: str = "noising"
) -> pd.DataFrame:
    """Return rows of arrays [pair, head]; the columns that are not given are made to fit.

    `ap` and `ig_joint` default to the output range, which defaults to 1; the heads fill the layers
    evenly.
    """
    n_pairs, n_heads = next(iter(columns.values())).shape
    ones = np.ones((n_pairs, n_heads))
    pair, place = np.indices((n_pairs, n_heads))
    table = {"output_range_closed": ones, **columns}
    table.setdefault("ap", table["output_range_closed"])
    table.setdefault("ig_joint", table["ap"])
    table.setdefault("ig_own", table["ap"])
    table.setdefault("output_range", table["output_range_closed"])
    excess = np.maximum(table["output_range_closed"] - np.abs(table["ap"]), 0.0)
    table.setdefault("excess_range", excess)
    table.setdefault("total_variation", np.abs(table["ap"]) + 2 * table["excess_range"])
    table.setdefault("monotonicity", np.abs(table["ap"]) / table["total_variation"])
    for name in ("gradient_range", "saturation", "atp"):
        table.setdefault(name, ones)
    per_layer = n_heads // layers
    rows = {
        "pair": pair,
        "direction": np.full(pair.shape, direction),
        "layer": place // per_layer,
        "head": place % per_layer,
        **table,
    }
    return pd.DataFrame({name: values.ravel() for name, values in rows.items()})


def two_way(
    random: np.random.Generator,
    pairs: int,
    heads: int,
    *,
    correlation: float = 0.0,
    head_part: float = 1.0,
    between_pairs: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y [pair, head]: what a head keeps from pair to pair, and what is new in each.

    Both parts correlate by tanh(z); z is the Fisher transform of `correlation` for what the head
    keeps and scatters by `between_pairs` from pair to pair for what is new. `head_part` is the size
    of what is kept; what is new has size 1.
    """
    z = np.arctanh(correlation) + between_pairs * random.standard_normal(pairs)
    rho = np.tanh(z)[:, None]
    kept = random.standard_normal((2, heads))
    kept[1] = correlation * kept[0] + np.sqrt(1 - correlation**2) * kept[1]
    new = random.standard_normal((2, pairs, heads))
    new[1] = rho * new[0] + np.sqrt(1 - rho**2) * new[1]
    x, y = head_part * kept[:, None] + new
    return x, y
