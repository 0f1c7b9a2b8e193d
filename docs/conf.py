"""Sphinx's settings of the site (`make docs`): strict, offline, without scripts from elsewhere.

Pages are the Markdown files of this folder, and those that `generated_pages` writes below
`_generated/` before each build: configuration, outputs, the API, the tutorial.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import generated_pages  # noqa: E402
import repository_links  # noqa: E402

project = "Counterpoint"
author = "The Counterpoint maintainers"
copyright = author
version = release = generated_pages.version()

extensions = ["myst_parser"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
# What MyST reads beside plain Markdown; GitHub shows $formulas$ too.
myst_enable_extensions = ["colon_fence", "dollarmath"]
# Headings are reached by the names that GitHub gives them.
myst_heading_anchors = 4
nitpicky = True
# Types in signatures are names of Python and of libraries whose sites are not asked.
nitpick_ignore_regex = [("py:.*", ".*")]
# A class that several modules have: the link is left to the first.
suppress_warnings = ["ref.python"]
maximum_signature_line_length = 88
toc_object_entries = False
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["counterpoint.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["contents.html"]}
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    # All pages stand in the sidebar; the header would have room for six of them.
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_math_renderer = "mathml"


def _inline_formula(translator: Any, node: Any) -> None:
    translator.body.append(convert(node.astext()))
    raise _skip()


def _displayed_formula(translator: Any, node: Any) -> None:
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math">{formula}</div>')
    raise _skip()


def _skip() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def _read(app: Sphinx, name: str, text: list[str]) -> None:
    source = Path(app.env.doc2path(name))
    text[0] = repository_links.for_site(text[0], source)


def setup(app: Sphinx) -> None:
    """Formulas become MathML, which browsers draw without a script; pages are written first."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
    app.connect("builder-inited", lambda _: generated_pages.write_all(DOCS / "_generated"))
    app.connect("source-read", _read)
