"""Every figure: functions from tables and arrays to matplotlib figures, in one theme.

A module draws one thing and bears its name: `heat_map_figures`, `regression_figures`,
`curve_figures`, and so on. `theme` is how all look; `chosen_heads` says which heads are shown;
`study_figures`, `comparison_figures` and `method_figures` list what the workflow draws. Functions
are called plurals of what they draw and modules end alike (`*_figures`), so that neither hides the
other here. Labels come from the glossary. Imports `statistics`, `measures.curve_arrays` and
names of classes from `counterfactuals`; no torch. `theme` first. What is saved as SVG goes through
`compact_svg` and `svg_paths`.

The functions below take a table such as heads.parquet, or what `counterpoint.measure` returns, and
need nothing else:

    figure = counterpoint.figures.heat_maps(heads)
    counterpoint.figures.save_figure(figure, "figures", "heat_maps")  # SVG and PNG

A figure is a `matplotlib.figure.Figure`, whose axes can be changed; a notebook shows it without
pyplot. Nothing is imported before a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.figures.answer_figures import answer_map
    from counterpoint.figures.atlas_figures import atlas_map
    from counterpoint.figures.circuit_figures import circuit_curves, edge_circuit_curves
    from counterpoint.figures.correlation_figures import correlation_matrices
    from counterpoint.figures.counterfactual_figures import (
        archive_scatter,
        pair_curves,
        search_progress,
    )
    from counterpoint.figures.curve_figures import output_curves, read_curves
    from counterpoint.figures.edge_figures import strongest_edges
    from counterpoint.figures.faithfulness_figures import faithfulness_curves
    from counterpoint.figures.heat_map_figures import heat_maps
    from counterpoint.figures.interaction_figures import interaction_sums
    from counterpoint.figures.mlp_figures import mlp_layers
    from counterpoint.figures.pattern_figures import attention_maps
    from counterpoint.figures.position_curve_figures import position_curves
    from counterpoint.figures.position_figures import head_position_maps, position_maps
    from counterpoint.figures.regression_figures import regressions
    from counterpoint.figures.role_figures import head_roles
    from counterpoint.figures.sample_size_figures import sample_size_curves
    from counterpoint.figures.score_agreement_figures import found_by_checks
    from counterpoint.figures.stability_figures import rank_stability
    from counterpoint.figures.theme import figure_svg, save_figure
    from counterpoint.figures.top_head_figures import top_heads
    from counterpoint.figures.variance_figures import variance_shares

__all__ = [
    "answer_map",
    "archive_scatter",
    "atlas_map",
    "attention_maps",
    "circuit_curves",
    "correlation_matrices",
    "edge_circuit_curves",
    "faithfulness_curves",
    "figure_svg",
    "found_by_checks",
    "head_position_maps",
    "head_roles",
    "heat_maps",
    "interaction_sums",
    "mlp_layers",
    "output_curves",
    "pair_curves",
    "position_curves",
    "position_maps",
    "rank_stability",
    "read_curves",
    "regressions",
    "sample_size_curves",
    "save_figure",
    "search_progress",
    "strongest_edges",
    "top_heads",
    "variance_shares",
]

_HOMES = {
    "answer_map": "answer_figures",
    "archive_scatter": "counterfactual_figures",
    "atlas_map": "atlas_figures",
    "attention_maps": "pattern_figures",
    "circuit_curves": "circuit_figures",
    "correlation_matrices": "correlation_figures",
    "edge_circuit_curves": "circuit_figures",
    "faithfulness_curves": "faithfulness_figures",
    "figure_svg": "theme",
    "head_position_maps": "position_figures",
    "head_roles": "role_figures",
    "found_by_checks": "score_agreement_figures",
    "heat_maps": "heat_map_figures",
    "interaction_sums": "interaction_figures",
    "mlp_layers": "mlp_figures",
    "output_curves": "curve_figures",
    "pair_curves": "counterfactual_figures",
    "position_curves": "position_curve_figures",
    "position_maps": "position_figures",
    "rank_stability": "stability_figures",
    "read_curves": "curve_figures",
    "regressions": "regression_figures",
    "sample_size_curves": "sample_size_figures",
    "save_figure": "theme",
    "search_progress": "counterfactual_figures",
    "strongest_edges": "edge_figures",
    "top_heads": "top_head_figures",
    "variance_shares": "variance_figures",
}
"""The module of each public name. Names, and no imports, so that what imports one figure does not
count as depending on all (`workflow.code_version`)."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
