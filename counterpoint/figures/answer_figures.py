"""Heads × answers: what patching each head does to each answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from counterpoint.figures.theme import DIVERGING, new_figure, sentence
from counterpoint.statistics.panel import directions

SHOWN_ANSWERS = 18
"""Most answers that stand beside the pairs' own: more labels cannot be read."""

OWN = ("correct", "incorrect")


def answer_means(answers: pd.DataFrame, column: str = "logit_change") -> pd.DataFrame:
    """The mean over pairs of a column: a row per direction, layer and head, a column per answer.

    The first columns are ``correct`` and ``incorrect``, each pair's own; then the answers by their
    texts, those first that any head moves most. An answer is averaged over the pairs on which it
    stands in the table.
    """
    keys = ["direction", "layer", "head"]
    own = answers[answers["role"].isin(OWN)]
    by_role = own.pivot_table(index=keys, columns="role", values=column, sort=False)
    by_text = answers.pivot_table(index=keys, columns="text", values=column, sort=False)
    order = by_text.abs().max().sort_values(ascending=False, kind="stable").index
    ranked = by_text[order].add_prefix("text:")
    return pd.concat([by_role.reindex(columns=list(OWN)), ranked], axis=1)


def answer_map(answers: pd.DataFrame) -> Figure:
    """Draw heads × answers: the mean change of each answer's centred logit.

    ``answers`` is the table of `tables.answer_table.score_answers`. The first two columns are each
    pair's own answers. Centred: less the mean change of all tokens, which moves no probability.
    """
    if answers.empty:
        return sentence("No answers were looked at")
    means = answer_means(answers, "centred_logit_change")
    names = [*OWN, *[name for name in means.columns if name not in OWN][:SHOWN_ANSWERS]]
    shown = directions(means.reset_index())
    n_heads = len(means) // len(shown)
    with new_figure(8.4, len(shown) * (0.5 + 0.22 * n_heads) + 0.9) as figure:
        grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
        bound = float(np.nanmax(np.abs(means[names].to_numpy()), initial=1e-12))
        for ax, direction in zip(grid, shown, strict=True):
            rows = means.loc[direction]
            image = ax.imshow(
                rows[names].to_numpy(float),
                cmap=DIVERGING,
                vmin=-bound,
                vmax=bound,
                aspect="auto",
                interpolation="none",
            )
            ax.axvline(len(OWN) - 0.5, color="black", lw=0.8)
            ax.set_yticks(range(len(rows)), [f"{layer}.{head}" for layer, head in rows.index])
            ax.set_ylabel(f"{direction}\nlayer.head")
            bar = figure.colorbar(image, ax=ax, fraction=0.03, pad=0.01)
            bar.outline.set_linewidth(0.4)
            bar.set_label("logits")
        labels = [name if name in OWN else shown_text(name.removeprefix("text:")) for name in names]
        grid[-1].set_xticks(range(len(names)), labels, rotation=60, ha="right")
        return figure


def shown_text(text: str, longest: int = 16) -> str:
    """A token as a label: its quotes show its spaces; what cannot be printed is spelt out."""
    spelt = repr(text)
    return spelt if len(spelt) <= longest else f"{spelt[: longest - 1]}…"
