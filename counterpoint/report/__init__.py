"""Pages from results: the report of a study and the comparison of studies, each one HTML file.

`render_report` executes ``reports/report.ipynb``, whose cells call the functions named here, each
of which turns `Results` into one part of the page; ``reports/comparison.ipynb`` calls those of
`comparison_page` (its headline is `comparison_headline`). Of the modules `*_section` each writes
the part that it is named for; fixed prose stands in the notebooks, words in the glossary. The
notebook that is left beside a page, ``reports/study.ipynb``, shows DataFrames and figures instead:
`open_study`, `table`, `tables`, `figure`, `figures`, `map` (`notebook_views`).

Imports `figures`, `statistics` and names of columns from the rooms that write them; no part loads a
model or imports torch. In reading order: `html` (pieces, everything escaped), `study_results` (the
files of a study; `current_files` are those of its configuration) and `comparison_results`,
`prompt_tokens`, `explorer` (the data of the head explorer), `section_parts`, `bibliography` (what a
study is cited with), any section, `section_figures` (what they draw), `notebook_views`, `page`,
`render`.
All parts are imported here and not on demand, since the notebook's imports say on which code a page
depends (`workflow.code_version`).
"""

from counterpoint.report.answers_section import answers
from counterpoint.report.atlas_section import atlas
from counterpoint.report.baselines_section import baselines
from counterpoint.report.beginning_section import beginning, without_bos
from counterpoint.report.circuit_section import circuits
from counterpoint.report.citing_section import cite
from counterpoint.report.claims_section import claims
from counterpoint.report.counterfactuals_section import generated
from counterpoint.report.curves_section import curves
from counterpoint.report.disagreement_section import reasons
from counterpoint.report.edge_circuit_section import edge_circuits
from counterpoint.report.edges_section import edges
from counterpoint.report.exactness_section import exactness
from counterpoint.report.explorer_section import explore
from counterpoint.report.glossary_section import glossary
from counterpoint.report.headline_section import headline
from counterpoint.report.heads_section import heads, heat_maps
from counterpoint.report.limits_section import limits
from counterpoint.report.mlps_section import extras
from counterpoint.report.notebook_views import figure, figures, open_study, table, tables
from counterpoint.report.notebook_views import head_map as map
from counterpoint.report.page import notebook_to_html
from counterpoint.report.pairs_section import dropped, pairs
from counterpoint.report.patterns_section import attention_patterns
from counterpoint.report.positions_section import positions
from counterpoint.report.provenance_section import provenance
from counterpoint.report.relations_section import relations
from counterpoint.report.render import render_report
from counterpoint.report.roles_section import roles
from counterpoint.report.stability_section import stability
from counterpoint.report.study_results import Results, load_results
from counterpoint.report.templates_section import templates

__all__ = [
    "Results",
    "answers",
    "atlas",
    "attention_patterns",
    "baselines",
    "beginning",
    "circuits",
    "cite",
    "claims",
    "curves",
    "dropped",
    "edge_circuits",
    "edges",
    "exactness",
    "explore",
    "extras",
    "figure",
    "figures",
    "generated",
    "glossary",
    "headline",
    "heads",
    "heat_maps",
    "limits",
    "load_results",
    "map",
    "notebook_to_html",
    "open_study",
    "pairs",
    "positions",
    "provenance",
    "reasons",
    "relations",
    "render_report",
    "roles",
    "stability",
    "table",
    "tables",
    "templates",
    "without_bos",
]
