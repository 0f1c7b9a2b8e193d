"""Edges over pairs: their means with intervals, and how far first-order scores are from them.

From the table of edges (`measures.tables.edge_table`): pair, direction, sender_layer, sender_head,
receiver_layer, receiver_head, role, effect, exact, eap, eap_ig.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoint.statistics import resampling
from counterpoint.statistics.resampling import Settings

RECEIVER = ["direction", "receiver_layer", "receiver_head", "role"]
SENDER = ["sender_layer", "sender_head"]
SCORES = ("eap", "eap_ig")


def edge_means(edges: pd.DataFrame, *, settings: Settings | None = None) -> pd.DataFrame:
    """The mean of every exact edge over the pairs: one row per direction, receiver, role, sender.

    Columns: the keys, ``effect``, ``ci_low``, ``ci_high`` (the interval of the mean over pairs, a
    bootstrap widened for their small number; empty for one pair), ``same_sign`` (the share of pairs
    whose effect has the sign of the mean), ``eap`` and ``eap_ig``.
    """
    chosen = resampling.checked(settings)
    exact = edges[edges["exact"]]
    tables = []
    for direction, rows in exact.groupby("direction", sort=False):
        keys = [*RECEIVER[1:], *SENDER]
        effect = rows.pivot_table(index="pair", columns=keys, values="effect")
        values = effect.to_numpy(float)
        random = resampling.generator(chosen.seed, str(direction), "edges")
        drawn = resampling.draws(random, chosen.bootstrap_samples, len(values))
        found = resampling.study_interval(values, None, drawn, chosen.confidence)
        means = effect.columns.to_frame(index=False)
        means.insert(0, "direction", direction)
        same = np.sign(values) == np.sign(found.estimate)
        tables.append(
            means.assign(
                effect=found.estimate,
                ci_low=found.low,
                ci_high=found.high,
                same_sign=same.mean(0),
                **{
                    score: rows.groupby(keys)[score].mean().reindex(effect.columns).to_numpy()
                    for score in SCORES
                },
            )
        )
    columns = [*RECEIVER, *SENDER, "effect", "ci_low", "ci_high", "same_sign", *SCORES]
    return (
        pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    )


def strongest_senders(means: pd.DataFrame, count: int) -> pd.DataFrame:
    """The ``count`` senders of largest mean |effect| over the directions, for each receiver and
    role, largest first; a column ``place`` counts them from 0."""
    keys = [*RECEIVER[1:], *SENDER]
    size = means.assign(size=means["effect"].abs()).groupby(keys)["size"].mean().reset_index()
    size = size.sort_values("size", ascending=False, kind="stable")
    size["place"] = size.groupby(RECEIVER[1:]).cumcount()
    first = size[size["place"] < count]
    return means.merge(first[[*keys, "place"]], on=keys).sort_values(
        [*RECEIVER[1:], "place"], kind="stable", ignore_index=True
    )


def first_order_errors(edges: pd.DataFrame) -> pd.DataFrame:
    """How far EAP and EAP-IG are from the exact effects: one row per direction, receiver, role.

    Over all senders and pairs together: ``edges`` (how many), ``largest`` (the largest |effect|),
    and for each score ``{score}_correlation`` (Pearson's; empty where either does not vary) and
    ``{score}_error`` (the largest difference). Without scores there is no row.
    """
    exact = edges[edges["exact"]].dropna(subset=list(SCORES))
    rows = []
    for key, own in exact.groupby(RECEIVER, sort=False):
        row = dict(zip(RECEIVER, key, strict=True))
        effect = own["effect"].to_numpy(float)
        row |= {"edges": len(own), "largest": float(np.abs(effect).max())}
        for score in SCORES:
            guess = own[score].to_numpy(float)
            varies = len(own) > 1 and np.ptp(effect) > 0 and np.ptp(guess) > 0
            row[f"{score}_correlation"] = (
                float(np.corrcoef(effect, guess)[0, 1]) if varies else np.nan
            )
            row[f"{score}_error"] = float(np.abs(effect - guess).max())
        rows.append(row)
    names = [f"{score}_{what}" for score in SCORES for what in ("correlation", "error")]
    return pd.DataFrame(rows, columns=[*RECEIVER, "edges", "largest", *names])


def sender_name(layer: int, head: int) -> str:
    """A sender as it is called: ``4.2``, ``MLP 4``, ``embeddings``."""
    if layer < 0:
        return "embeddings"
    return f"MLP {layer}" if head < 0 else f"{layer}.{head}"


def receiver_name(layer: int, head: int, role: str) -> str:
    """A receiver with its role: ``23.3 query``, ``logits``."""
    return role if head < 0 else f"{layer}.{head} {role}"
