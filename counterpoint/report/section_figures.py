"""The figures that only some studies have: what the sections of a page ask for, by name.

Which they are is listed nowhere. Every section is asked once, with results that gather figures
instead of drawing them, so that each picture of a page has its file in ``figures/sections``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from counterpoint.report.answers_section import answers
from counterpoint.report.atlas_section import atlas
from counterpoint.report.baselines_section import baselines
from counterpoint.report.beginning_section import without_bos
from counterpoint.report.circuit_section import circuits
from counterpoint.report.counterfactuals_section import generated
from counterpoint.report.disagreement_section import reasons
from counterpoint.report.edge_circuit_section import edge_circuits
from counterpoint.report.edges_section import edges
from counterpoint.report.html import Fragment
from counterpoint.report.mlps_section import extras
from counterpoint.report.patterns_section import attention_patterns
from counterpoint.report.positions_section import positions
from counterpoint.report.roles_section import roles
from counterpoint.report.section_parts import SectionFigure
from counterpoint.report.study_results import Results
from counterpoint.report.templates_section import templates

SECTIONS: tuple[Callable[[Results], Fragment], ...] = (
    answers,
    reasons,
    baselines,
    positions,
    roles,
    attention_patterns,
    edges,
    circuits,
    edge_circuits,
    templates,
    without_bos,
    generated,
    atlas,
    extras,
)
"""The sections that draw, in the order of the page."""


def section_figures(results: Results) -> dict[str, SectionFigure]:
    """Return the figures of a study's sections by name, not yet drawn, in the order of the page."""
    found: dict[str, SectionFigure] = {}
    asked = replace(results, gathered=found)
    for section in SECTIONS:
        section(asked)
    return found
