"""The figures as a user calls them: from one table, in a notebook, nothing loaded before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from counterpoint import figures
from counterpoint.errors import UserError
from counterpoint.figures import theme
from counterpoint.figures.curve_figures import widest
from counterpoint.glossary import label
from counterpoint.measures.curve_arrays import Curves
from counterpoint.workflow.code_version import imported_modules
from tests.figures.test_study_figures import drawn_text
from tests.helpers.synthetic import Shape, make_scores

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def heads() -> pd.DataFrame:
    return make_scores(Shape())[0]


def maps_of(figure: Figure) -> dict[str, np.ndarray]:
    return {
        ax.get_title(loc="left"): ax.images[0].get_array().data for ax in figure.axes if ax.images
    }


def test_every_public_name_is_there_and_stays_when_its_module_is_loaded() -> None:
    for name in figures.__all__:
        assert callable(getattr(figures, name)), name
    assert set(figures.__all__) == set(figures._HOMES) <= set(dir(figures))
    modules = {path.stem for path in Path(figures.__file__).parent.glob("*.py")}
    # A module of that name would take the function's place once it is imported.
    assert not modules & set(figures.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = figures.nothing


def test_importing_the_room_loads_nothing() -> None:
    program = (
        "import sys; from counterpoint import figures; figures.__all__;"
        "print([m for m in ('matplotlib', 'pandas', 'torch') if m in sys.modules]);"
        "figures.heat_maps;"
        "print([m for m in ('matplotlib', 'matplotlib.pyplot', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "['matplotlib']"]


def test_a_notebook_shows_a_figure_by_itself(heads) -> None:
    picture = figures.top_heads(heads, count=3)._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert figures.figure_svg(figures.top_heads(heads, count=3)).startswith(b"<?xml")


def test_heat_maps_of_any_columns(heads) -> None:
    drawn = figures.heat_maps(heads, ["saturation", "atp", "disagreement"])
    assert list(maps_of(drawn)) == [label(n) for n in ("saturation", "atp", "disagreement")]
    saturation, atp, _ = (ax.images[0] for ax in drawn.axes[:3])
    assert saturation.norm.vmin == 0 and atp.norm.vmin == -atp.norm.vmax < 0
    assert (saturation.cmap.name, atp.cmap.name) == (theme.SEQUENTIAL, theme.DIVERGING)
    assert list(maps_of(figures.heat_maps(heads, "ap"))) == ["AP"]


def test_a_table_with_little_more_than_ap_is_enough(heads) -> None:
    little = heads[["pair", "direction", "layer", "head", "ap"]]
    assert list(maps_of(figures.heat_maps(little))) == ["AP"]
    assert len(figures.top_heads(little, count=3).axes[0].get_yticks()) == 3
    with pytest.raises(KeyError, match="saturation"):
        figures.heat_maps(little, "saturation")
    with pytest.raises(KeyError, match="abs_ap"):
        figures.heat_maps(little.drop(columns="ap"))


def test_regressions_need_the_table_alone(heads) -> None:
    assert "r = " in drawn_text(figures.regressions(heads, samples=10))


def test_curves_alone_are_drawn_for_the_heads_that_move_most() -> None:
    shape = Shape(pairs=2)
    _, tensors, baseline = make_scores(shape)
    curves = Curves(**tensors, directions=shape.directions)
    chosen = widest(curves, 6)
    assert len(chosen) == 6 and chosen[0] == (3, 2)  # the largest AP by construction
    drawn = figures.output_curves(curves)
    titles = [ax.get_title(loc="left") for ax in drawn.axes]
    assert [title for title in titles if title] == [f"{layer}.{head}" for layer, head in chosen]
    first = drawn.axes[0].lines[-1].get_ydata()
    assert first[0] == 0
    from_baseline = figures.output_curves(curves, baseline, [(3, 2)]).axes[0].lines[-1]
    np.testing.assert_allclose(np.ptp(from_baseline.get_ydata()), np.ptp(first), rtol=1e-5)


def test_layers_without_curves_are_not_chosen() -> None:
    shape = Shape(pairs=1, layers=2, heads=2)
    _, tensors, _ = make_scores(shape)
    tensors["output"][:, :, 1] = np.nan
    curves = Curves(**tensors, directions=shape.directions)
    assert {layer for layer, _ in widest(curves, 6)} == {0}


def test_a_script_depends_on_the_figures_that_it_draws_alone() -> None:
    modules = imported_modules("scripts/draw_atlas.py")
    drawn = {name for name in modules if name.startswith("counterpoint.figures.")}
    saving = ("theme", "compact_svg", "svg_paths")
    assert drawn == {f"counterpoint.figures.{name}" for name in ("atlas_figures", *saving)}
    measured = imported_modules("scripts/compute_curves.py")
    assert not {name for name in measured if name.startswith("counterpoint.glossary")}


def test_roles_are_drawn_beside_the_whole_effect(heads) -> None:
    little = heads[["pair", "direction", "layer", "head", "ap"]]
    shares = {"query": 0.25, "key": 0.0, "value": 0.5, "pattern": 0.5, "output": 1.0}
    roles = pd.concat([little.assign(role=r, ap=s * little["ap"]) for r, s in shares.items()])
    drawn = figures.head_roles(roles, heads_shown=4)
    assert [ax.get_title(loc="left") for ax in drawn.axes] == ["noising", "denoising"]
    widths = [bar.get_width() for bar in drawn.axes[0].patches]
    values = next(line for line in drawn.axes[0].lines if line.get_label() == "value")
    np.testing.assert_allclose(values.get_xdata(), 0.5 * np.array(widths))
    with pytest.raises(UserError, match="no roles"):
        figures.head_roles(little)


def test_attention_maps_name_tokens_as_they_stand() -> None:
    clean = np.full((2, 3, 4, 4), 0.25, dtype=np.float32)
    corrupted = clean.copy()
    corrupted[1, 2, 3] = [1, 0, 0, 0]
    texts = ["<s>", " $x_1$", "\n", " <b>a long token of many letters</b>"]
    drawn = figures.attention_maps(clean, corrupted, [(1, 2)], (texts, texts))
    maps = maps_of(drawn)
    np.testing.assert_array_equal(maps["1.2, corrupted − clean"][3], [0.75, -0.25, -0.25, -0.25])
    shown = [tick.get_text() for tick in drawn.axes[0].get_xticklabels()]
    assert shown[:3] == ["<s>", "$x_1$", "\\n"] and shown[3] == "<b>a long t…"
    assert b"<b>" not in figures.figure_svg(drawn)
    for change in ({"heads": [(2, 0)]}, {"heads": []}, {"tokens": (texts[:2], texts)}):
        with pytest.raises(UserError):
            figures.attention_maps(**{"clean": clean, "corrupted": corrupted, "heads": [(0, 0)],
                                      **change})  # fmt: skip
