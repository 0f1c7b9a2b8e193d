"""The head explorer: every head, pair, direction and measure of a study, to be looked up.

The section holds the explorer's data; its script (``reports/explorer``) is put into the page by
`render`. Without scripts a sentence says so, and the page's figures stand as they are, as in print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoint.report.explorer.explorer_data import explorer_data
from counterpoint.report.html import Fragment, fill, heading, join, word
from counterpoint.report.study_results import Results


def explore(results: Results) -> Fragment:
    """Return the section with the explorer."""
    return explorer(
        "Explore the heads",
        fill(
            "<p>Every {} on every {}: point at it on the map, or type its name (23.3). A click "
            "pins up to three side by side; a number that is clicked is copied in full.</p>",
            word("head"),
            word("pair"),
        ),
        {str(results.settings.get("model", "")): explorer_data(results)},
    )


def explorer(title: str, words: Any, data: Mapping[str, str]) -> Fragment:
    """Return a section with an explorer of ``data``, packed, by the name of the model."""
    return join(
        [
            heading("explore", title),
            words,
            fill(
                '<p class="note" id="explorer-note">{}</p>',
                "The explorer works in report.html, in a browser of 2023 or later that runs "
                "scripts; it loads nothing. The figures below stand without it.",
            ),
            Fragment('<div id="explorer" hidden></div>'),
            # Base64: it cannot end the element.
            *(
                fill(
                    '<script type="application/octet-stream" id="explorer-data{}" '
                    'data-model="{}">{}</script>',
                    f"-{place}" if place else "",
                    model,
                    text,
                )
                for place, (model, text) in enumerate(data.items())
            ),
        ]
    )
