"""The report of a study: from its result files to one HTML page that opens offline.

`render_report` executes ``reports/report.ipynb``, whose cells call the functions named here, each
of which turns `Results` into one part of the page. No part loads a model or imports torch.
"""

from counterpoint.report.atlas_section import atlas
from counterpoint.report.beginning_section import beginning, without_bos
from counterpoint.report.counterfactuals_section import generated
from counterpoint.report.glossary_section import glossary
from counterpoint.report.render import notebook_to_html, render_report
from counterpoint.report.study_results import Results, load_results
from counterpoint.report.study_sections import (
    claims,
    curves,
    dropped,
    exactness,
    extras,
    headline,
    heads,
    heat_maps,
    pairs,
    provenance,
    reasons,
    relations,
    stability,
)

__all__ = [
    "Results",
    "atlas",
    "beginning",
    "claims",
    "curves",
    "dropped",
    "exactness",
    "extras",
    "generated",
    "glossary",
    "headline",
    "heads",
    "heat_maps",
    "load_results",
    "notebook_to_html",
    "pairs",
    "provenance",
    "reasons",
    "relations",
    "render_report",
    "stability",
    "without_bos",
]
