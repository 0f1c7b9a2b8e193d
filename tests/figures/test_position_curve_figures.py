"""Curves at single positions: what is drawn, which positions are named, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from counterpoint import figures
from counterpoint.errors import UserError
from tests.helpers.synthetic import make_position_curves


def test_each_head_has_a_line_for_each_position() -> None:
    table = make_position_curves()
    baseline = pd.DataFrame({"pair": [0, 1], "metric_clean": 3.0, "metric_corrupted": -3.0})
    figure = figures.position_curves(table, baseline, [(2, 1), (0, 2)], pair=1)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == ["2.1", "0.2"]
    rows = table[(table["pair"] == 1) & (table["direction"] == "noising")]
    own = rows[(rows["layer"] == 2) & (rows["head"] == 1)]
    lines = [np.asarray(line.get_ydata()) for line in shown[0].lines[1:]]
    assert len(lines) == len(own) == 5
    widest = own.loc[own["output_range_closed"].idxmax()]
    assert lines[0] == pytest.approx(widest["output"] - 3.0)
    names = [text.get_text() for text in shown[0].get_legend().get_texts()]
    assert names[0].startswith(str(widest["position"])) and "$x_1$" in " ".join(names)


def test_heads_that_move_farthest_come_first_and_what_lacks_is_said() -> None:
    table = make_position_curves()
    figure = figures.position_curves(table, direction="denoising")
    rows = table[(table["pair"] == 0) & (table["direction"] == "denoising")]
    first = rows.loc[rows["output_range_closed"].idxmax()]
    assert figure.axes[0].get_title(loc="left") == f"{first['layer']}.{first['head']}"
    assert figure.axes[0].get_title(loc="right") == "denoising"
    with pytest.raises(UserError, match=r"no curves of the head 9\.9"):
        figures.position_curves(table, heads=[(9, 9)])
    with pytest.raises(UserError, match="no curves of heads of pair 7"):
        figures.position_curves(table, pair=7)
    with pytest.raises(UserError, match=r"lacks \['output'\]"):
        figures.position_curves(table.drop(columns="output"))
