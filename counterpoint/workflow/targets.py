"""Which heads pairs are searched for: named ones, the strongest of the study, or random ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table
from counterpoint.models.model_shape import Shape
from counterpoint.workflow.config import check_heads, number_of_targets


def choose_targets(
    wanted: Sequence[Sequence[int]] | Mapping[str, Any],
    shape: Shape,
    *,
    scores: str | os.PathLike[str] | None = None,
    key: str = "targets",
) -> list[list[int]]:
    """The heads, as [layer, head], that the setting ``wanted`` asks for.

    ``wanted`` is a list of heads; or ``{top: k}``, the k heads of the largest |AP|, averaged over
    all pairs and directions of the table of heads at ``scores``; or ``{random: k, seed: s}``.

    Raises UserError, naming ``key``, for a head that the model does not have and for more heads
    than it has.
    """
    every = shape.heads
    total = len(every)
    if not isinstance(wanted, Mapping):
        check_heads(wanted, n_layers=shape.n_layers, n_heads=shape.n_heads, key=key)
        lacking = sorted({head[0] for head in wanted} - {layer for layer, _ in every})
        if lacking:
            raise UserError(
                f"{key}: layer {lacking[0]} has no attention heads (it is of another kind, such as"
                " a recurrent one or a convolution); layers with heads are"
                f" {', '.join(map(str, shape.head_layers or ()))}"
            )
        return [list(head) for head in wanted]
    count = number_of_targets(wanted)
    if count > total:
        raise UserError(f"{key}: {count} heads are asked for, but the model has {total}")
    if "top" in wanted:
        if scores is None:
            raise ValueError("the first heads by |AP| need the table of heads")
        table = read_table(scores)
        means = table["ap"].abs().groupby([table["layer"], table["head"]]).mean()
        # A stable sort: of equal heads the lower one comes first.
        first = means.sort_values(ascending=False, kind="stable").index[:count]
        return [[int(layer), int(head)] for layer, head in first]
    drawn = np.random.default_rng(wanted.get("seed", 0)).choice(total, count, replace=False)
    return [list(every[number]) for number in drawn]


def spread_heads(
    shape: Shape, count: int, seed: int, without: Sequence[Sequence[int]] = ()
) -> list[list[int]]:
    """``count`` random heads over the depth, as [layer, head]: one from each stretch of layers.

    The layers are cut into ``count`` stretches as equal as may be, the longer ones first; from each
    in turn one head is drawn, all being equally likely but those in ``without``.

    Raises ValueError for more stretches than layers.
    """
    if count > shape.n_layers:
        raise ValueError(f"{shape.n_layers} layers cannot be cut into {count} stretches")
    generator = np.random.default_rng(seed)
    drawn = []
    for stretch in np.array_split(np.arange(shape.n_layers), count):
        heads = [
            [layer, head]
            for layer in stretch.tolist()
            for head in range(shape.n_heads)
            if [layer, head] not in [list(one) for one in without]
        ]
        drawn.append(heads[generator.integers(len(heads))])
    return drawn
