"""A table of heads with scores beside AP, of which it is known how right they are."""

from __future__ import annotations

import numpy as np
import pandas as pd


def scored_heads(n_pairs: int = 5, n_heads: int = 24) -> pd.DataFrame:
    """AP that decays over the heads, AtP that is AP but for noise, EAP-IG that is AP's reverse."""
    random = np.random.default_rng(0)
    rows = []
    for pair in range(n_pairs):
        for direction in ("noising", "denoising"):
            ap = 2.0 ** -np.arange(n_heads) + 0.01 * random.normal(size=n_heads)
            atp = ap + 0.1 * random.normal(size=n_heads)
            rows.append(
                pd.DataFrame(
                    {
                        "pair": pair,
                        "direction": direction,
                        "layer": np.arange(n_heads) // 4,
                        "head": np.arange(n_heads) % 4,
                        "ap": ap,
                        "ap_normalised": ap if direction == "denoising" else -ap / 10,
                        "atp": atp,
                        "atp_hvp": ap,
                        "atp_reliability": np.abs(atp - ap) / np.abs(ap),
                        "eap_ig": ap[::-1],
                        "atp_star": np.abs(ap),
                        "output_range_closed": 1.0,
                        "gradient_range_closed": np.abs(atp - ap),
                        "excess_range": 0.0,
                        "monotonicity": 1.0,
                        "saturation": random.random(n_heads),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)
