"""Heat maps by position: what is drawn, with which tokens, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from counterpoint import figures
from counterpoint.errors import UserError
from counterpoint.figures.position_figures import shown_token
from tests.helpers.synthetic import Shape, make_positions

TOKENS = ["·<b>", "$x_1$", "·and⏎", "·a_very_long_…", "·to"]


def maps(figure) -> list:
    return [ax for ax in figure.axes if ax.images and ax.get_title(loc="left")]


def test_maps_of_the_three_components_have_the_tables_numbers() -> None:
    table = make_positions()
    drawn = maps(figures.position_maps(table, pair=1))
    assert [ax.get_title(loc="left") for ax in drawn] == 2 * ["residual stream", "attention", "MLP"]
    rows = table[(table["pair"] == 1) & (table["direction"] == "noising")]
    for ax, name in zip(drawn, ("residual", "attention", "mlp"), strict=False):
        own = rows[rows["component"] == name].pivot_table(
            index="layer", columns="position", values="ap"
        )
        assert np.asarray(ax.images[0].get_array()) == pytest.approx(own.to_numpy())
        assert [label.get_text() for label in ax.get_xticklabels()] == TOKENS
    norm = drawn[0].images[0].norm
    assert norm.vmin == -norm.vmax < 0


def test_heads_are_rows_in_the_order_given() -> None:
    table = make_positions()
    drawn = maps(figures.head_position_maps(table, [(2, 1), (0, 2)]))
    assert [ax.get_title(loc="left") for ax in drawn] == ["noising", "denoising"]
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == ["2.1", "0.2"]
    own = table[
        (table["pair"] == 0)
        & (table["direction"] == "noising")
        & (table["component"] == "head")
        & (table["layer"] == 2)
        & (table["head"] == 1)
    ]
    row = np.asarray(drawn[0].images[0].get_array())[0]
    assert row == pytest.approx(own["ap"].to_numpy())


def test_what_a_table_has_not_is_not_drawn_and_other_tables_are_refused() -> None:
    table = make_positions(Shape(pairs=1, directions=("denoising",)))
    one = maps(figures.position_maps(table[table["component"] == "mlp"]))
    assert [ax.get_title(loc="left") for ax in one] == ["MLP"]
    with pytest.raises(UserError, match="no residual stream, attention or MLP"):
        figures.position_maps(table[table["component"] == "head"])
    with pytest.raises(UserError, match="none of the heads"):
        figures.head_position_maps(table, [(9, 9)])
    with pytest.raises(UserError, match="no pair 7"):
        figures.position_maps(table, pair=7)
    with pytest.raises(KeyError, match="lacks"):
        figures.position_maps(pd.DataFrame({"pair": [0]}))


def test_tokens_are_shown_in_one_line() -> None:
    assert shown_token(" a\tb\n") == "·a�b⏎"
    assert len(shown_token("x" * 50)) == 14
