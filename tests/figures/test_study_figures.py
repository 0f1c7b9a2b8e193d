"""Figures from made-up studies: what they show, what they say when there is nothing to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from counterpoint.counterfactuals.methods.search import METHODS
from counterpoint.figures import (
    chosen_heads,
    correlation_figures,
    counterfactual_figures,
    curve_figures,
    heat_map_figures,
    regression_figures,
    stability_figures,
    study_figures,
    theme,
    top_head_figures,
)
from counterpoint.figures.counterfactual_figures import archive_scatter
from counterpoint.measures.curve_arrays import Curves
from counterpoint.statistics.correlations import correlations
from counterpoint.statistics.stability import stability
from tests.helpers.synthetic import QUICK, Shape, make_scores, write_study

FLOOR = 1e-4
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scores() -> tuple[pd.DataFrame, Curves, pd.DataFrame]:
    shape = Shape()
    heads, tensors, baseline = make_scores(shape)
    return heads, Curves(**tensors, directions=shape.directions), baseline


def drawn_text(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_draws_every_named_figure_and_no_other(scores):
    heads, curves, baseline = scores
    figures = study_figures.draw_figures(
        heads,
        baseline,
        curves,
        correlations(heads, settings=QUICK),
        stability(heads, settings=QUICK),
        floor=FLOOR,
    )
    assert list(figures) == list(study_figures.FIGURES)
    assert all(isinstance(figure, Figure) for figure in figures.values())


@pytest.mark.parametrize("directions", [("noising",), ("noising", "denoising")])
def test_heat_maps_are_centred_and_share_a_scale(directions):
    heads, _, _ = make_scores(Shape(directions=directions))
    figure = heat_map_figures.heat_maps(heads, floor=FLOOR)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(images) == 4 * len(directions)
    for ap, joint, output, gradient in zip(*[iter(images)] * 4, strict=True):
        assert ap.norm(0) == pytest.approx(0.5) and ap.norm.vmin == -ap.norm.vmax
        assert (joint.norm.vmin, joint.norm.vmax) == (ap.norm.vmin, ap.norm.vmax)
        assert ap.cmap.name == joint.cmap.name == theme.DIVERGING
        assert output.norm.vmin == gradient.norm.vmin == 0
        assert output.cmap.name == theme.SEQUENTIAL
    mean = heads[heads["direction"] == directions[0]].groupby(["layer", "head"])["ap"].mean()
    np.testing.assert_allclose(images[0].get_array().ravel(), mean.to_numpy())


def test_heat_maps_mark_heads_at_the_floor(scores):
    heads, _, _ = scores
    figure = heat_map_figures.heat_maps(heads, floor=FLOOR)
    dots = figure.axes[0].lines[0]
    assert list(zip(dots.get_ydata(), dots.get_xdata(), strict=True)) == [(0, 1)]


def test_mean_over_pairs_takes_sizes_pair_by_pair():
    heads, _, _ = make_scores(Shape(pairs=2, layers=1, heads=1, directions=("noising",)))
    heads["ap"], heads["ig_joint"] = [1.0, -1.0], [1.5, 0.0]
    means = chosen_heads.mean_over_pairs(heads).iloc[0]
    assert (means["ap"], means["abs_ap"]) == (0, 1)
    assert (means["disagreement"], means["abs_disagreement"]) == (0.75, 0.75)


def test_chosen_heads_are_strong_crooked_or_configured_and_never_twice(scores):
    heads, _, _ = scores
    strongest = chosen_heads.head_names(chosen_heads.rank_heads(heads))[0]
    chosen = chosen_heads.choose_heads(heads, 3, configured=[strongest, (0, 1)])
    assert len({(layer, head) for layer, head, _ in chosen}) == len(chosen)
    assert (*strongest, "large |AP|") in chosen and (0, 1, "configured") in chosen
    assert (3, 0, "large excess range") in chosen  # AP 0.01, movement 0.9, by construction


def test_regressions_label_both_correlations_and_leave_the_floor_out(scores):
    heads, _, _ = scores
    table = correlations(heads, settings=QUICK)
    figure = regression_figures.regressions(heads, table, floor=FLOOR, samples=20)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:2] == ["output range  against  |AP|", "output range  against  AP (signed)"]
    for ax, score in zip(figure.axes, ("abs_ap", "ap"), strict=False):
        row = correlation_figures.find_correlation(
            table, "noising", "output_range", score, scope="pair_mean"
        )
        assert (
            f"r = {row['estimate']:.2f}".replace("-", "−")
            in ax.get_legend().get_texts()[0].get_text()
        )
    hollow = figure.axes[0].lines[0]
    assert len(hollow.get_xdata()) == 1


def test_curves_start_at_the_unpatched_metric(scores):
    heads, curves, baseline = scores
    figure = curve_figures.output_curves(curves, baseline, [(3, 2, "large |AP|")])
    upper = figure.axes[0]
    thick = next(line for line in upper.lines if line.get_label() == "noising")
    mean = heads.query("direction == 'noising' and layer == 3 and head == 2")["ap"].mean()
    assert abs(thick.get_ydata()[0]) < 5e-3
    assert thick.get_ydata()[-1] == pytest.approx(mean, abs=2e-2)


def test_curves_without_gradients_or_pairs(scores):
    _, curves, baseline = scores
    chosen = [(0, 0, "configured")]
    plain = Curves(curves.alphas, curves.output, None, curves.pairs, curves.directions)
    assert len(curve_figures.output_curves(plain, baseline, chosen).axes) == 1
    none = Curves(curves.alphas, curves.output[:0], None, curves.pairs[:0], curves.directions)
    assert "keeps no curves" in drawn_text(curve_figures.output_curves(none, baseline, chosen))


def test_curves_of_another_shape_are_refused(scores):
    _, curves, _ = scores
    with pytest.raises(ValueError, match="does not fit 4 pairs, 1 directions"):
        Curves(curves.alphas, curves.output, None, curves.pairs, ("noising",))


def test_one_pair_has_no_intervals_and_no_stability():
    heads, _, _ = make_scores(Shape(pairs=1))
    intervals = top_head_figures.ap_intervals(heads, "noising", confidence=0.95, seed=0)
    assert all(np.isnan(low) for _, low, _ in intervals.values())
    assert "one pair" in drawn_text(
        stability_figures.rank_stability(stability(heads, settings=QUICK))
    )
    top_head_figures.top_heads(heads)


def test_constant_scores_are_drawn_without_a_line():
    heads, _, _ = make_scores(Shape(layers=2, heads=2))
    heads["ap"] = 0.0
    table = correlations(heads, settings=QUICK)
    figure = regression_figures.regressions(heads, table, floor=FLOOR, samples=20)
    assert "r = " not in figure.axes[1].get_legend().get_texts()[0].get_text()
    correlation_figures.correlation_matrices(table)
    heat_map_figures.heat_maps(heads, floor=FLOOR)


def test_saved_figures_are_whole_equal_and_without_a_date(tmp_path: Path, scores):
    heads, _, _ = scores
    first = theme.save_figure(top_head_figures.top_heads(heads), tmp_path / "a", "top_heads")
    second = theme.save_figure(top_head_figures.top_heads(heads), tmp_path / "b", "top_heads")
    assert [path.name for path in first] == ["top_heads.svg", "top_heads.png"]
    assert first[0].read_bytes() == second[0].read_bytes()
    assert b"dc:date" not in first[0].read_bytes()
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "top_heads.png",
        "top_heads.svg",
    ]


def test_a_method_has_one_colour_in_every_figure():
    methods = ["fluent", "descent", "evolution"]
    pairs = pd.DataFrame({"method": methods, "alphas": [[0, 1]] * 3, "output": [[0, 1]] * 3})
    archive = pd.DataFrame({"ld_change": [1], "perplexity": [20], "non_dominated": [True]})
    trace = pd.DataFrame(
        {"evaluations": [1, 2], "hypervolume": [0, 1], "best_ld_change": [0, 1], "seed": [0, 0]}
    )
    for order in (methods, methods[::-1]):
        curves = counterfactual_figures.pair_curves(
            pairs.set_index("method").loc[order].reset_index()
        )
        progress = counterfactual_figures.search_progress(dict.fromkeys(order, trace))
        scatter = archive_scatter(dict.fromkeys(order, archive))
        for figure in (curves, progress, scatter):
            legend = figure.axes[0].get_legend()
            shown = {
                text.get_text(): to_hex(_colour(handle))
                for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
            }
            assert shown == {name: theme.METHOD_COLOURS[name].lower() for name in order}
    assert theme.METHOD_COLOURS.keys() == set(METHODS)
    assert len(set(theme.METHOD_COLOURS.values())) == len(METHODS)


def _colour(handle: Line2D | PathCollection) -> object:
    return handle.get_color() if isinstance(handle, Line2D) else handle.get_edgecolor()[0]


def test_dollars_are_no_formulas():
    with mpl.rc_context(theme.STYLE):
        assert not mpl.text.Text(0, 0, "$x_1$ <b>").get_parse_math()


def test_curves_are_read_without_torch(tmp_path: Path):
    write_study(tmp_path, Shape(pairs=2, layers=1, heads=2))
    program = (
        "import sys; from counterpoint import figures;"
        "curves = figures.read_curves(sys.argv[1], ['noising', 'denoising']);"
        "assert curves.output.shape == (2, 2, 1, 2, 50);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "curves.safetensors")],
        check=True,
        cwd=ROOT,
    )


def test_a_users_own_matplotlibrc_has_no_part_in_figures() -> None:
    heads, _, _ = make_scores(Shape(pairs=2, layers=2, heads=2))
    plain = theme.figure_svg(top_head_figures.top_heads(heads))
    theirs = {"text.usetex": True, "axes.grid": True, "axes.facecolor": "red", "font.size": 20}
    with mpl.rc_context(theirs):
        assert theme.figure_svg(top_head_figures.top_heads(heads)) == plain
