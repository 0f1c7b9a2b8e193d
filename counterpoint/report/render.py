"""From the report notebook to one HTML file: papermill runs it, nbconvert writes it.

The page holds everything: no script, no font, no style and no image is loaded from anywhere, and
a content security policy in its head forbids it: only the styles and the script that stand beside
the template are allowed, by their digests, so that nothing else that gets into a page can run. The
template is ours, since those that come with nbconvert load scripts from the network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

import counterpoint
from counterpoint.files.artifacts import atomic, write_text

PathLike = str | os.PathLike[str]

CONTENTS = "<!--contents-->"
TEMPLATE = "counterpoint"
EXPLORER = 'id="explorer-data"'
"""What a page has that needs the explorer's script."""
KERNEL = "counterpoint-of-this-python"
"""The kernel that notebooks run in: no name that a user gives to one."""


def render_report(
    notebook: PathLike,
    parameters: Mapping[str, Any],
    output_ipynb: PathLike,
    output_html: PathLike,
) -> None:
    """Execute ``notebook`` with ``parameters`` and write it, executed and as one HTML page.

    The template is the folder ``template`` beside the notebook. Both files are written whole or
    not at all. Raises papermill's PapermillExecutionError, which holds the traceback, when a cell
    fails.
    """
    import papermill

    notebook, output_ipynb = Path(notebook).resolve(), Path(output_ipynb).resolve()
    with _kernel_surroundings(), atomic(output_ipynb) as temporary:
        executed = papermill.execute_notebook(
            str(notebook),
            str(temporary),
            parameters=dict(parameters),
            kernel_name=KERNEL,
            cwd=str(notebook.parent),
            progress_bar=False,
            log_output=False,
        )
        # Papermill notes the temporary name; the reader should see the lasting ones.
        executed.metadata["papermill"].update(
            input_path=notebook.name, output_path=output_ipynb.name
        )
        _write_notebook(executed, temporary)
    write_text(notebook_to_html(executed, notebook.parent / "template"), output_html)


def notebook_to_html(notebook: Any, template_folder: PathLike) -> str:
    """Return an executed notebook (an nbformat node) as one page, code hidden."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name=TEMPLATE,
        extra_template_basedirs=[str(template_folder)],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    folder = Path(template_folder) / TEMPLATE
    explored = EXPLORER in page
    style = _read(folder / "style.css") + (_read(folder / "explorer.css") if explored else "")
    script = _read(folder / "explorer.js") if explored else ""
    parts = {
        "<!--policy-->": '<meta http-equiv="Content-Security-Policy" '
        f'content="{content_policy(style, script)}">',
        "<!--style-->": f"<style>{style}</style>",
        CONTENTS: str(contents(page)),
        "<!--script-->": f"<script>{script}</script>" if script else "",
    }
    head, found, rest = page.partition("</head>")
    for mark in ("<!--policy-->", "<!--style-->"):
        head = head.replace(mark, parts[mark], 1)
    rest = rest.replace(CONTENTS, parts[CONTENTS], 1)
    before, _, after = rest.rpartition("<!--script-->")
    return head + found + before + parts["<!--script-->"] + after


def content_policy(style: str, script: str) -> str:
    """Return the policy that allows images of the page itself, this style and this script alone."""
    allowed = f"script-src '{_digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; {allowed}"
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    """A text's digest, as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _read(path: Path) -> str:
    # As a browser reads it: line ends are those of the file.
    return path.read_text(encoding="utf-8")


def _write_notebook(notebook: Any, path: Path) -> None:
    import nbformat

    nbformat.write(notebook, path)


@contextmanager
def _kernel_surroundings() -> Iterator[None]:
    """Let the kernel be this Python, import this copy of counterpoint and leave the home alone.

    Jupyter looks for a kernel by its name, first in JUPYTER_PATH and below the home folder, where a
    kernel `python3` of another environment may stand: so the kernel is written down here, with this
    process's own Python. A kernel inherits the environment; IPython would else write its history
    below the home folder, which may be read-only or shared by jobs on a cluster.
    """
    root = str(Path(counterpoint.__file__).resolve().parent.parent)
    with tempfile.TemporaryDirectory(prefix="counterpoint-kernel-") as folder:
        described = Path(folder, "kernels", KERNEL, "kernel.json")
        described.parent.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        described.write_text(
            json.dumps({"argv": start, "display_name": KERNEL, "language": "python"}),
            encoding="utf-8",
        )
        changes: dict[str, str | None] = {
            # A kernel runs this file of the user's, too, whatever it does.
            "PYTHONSTARTUP": None,
            "PYTHONPATH": _before(root, "PYTHONPATH"),
            "JUPYTER_PATH": _before(folder, "JUPYTER_PATH"),
            "IPYTHONDIR": folder,
            "JUPYTER_RUNTIME_DIR": folder,
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        before = {name: os.environ.get(name) for name in changes}
        _set(changes)
        try:
            yield
        finally:
            _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    """Set variables of the environment; None removes one."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _before(path: str, variable: str) -> str:
    """The list of paths in an environment variable with another one in front."""
    known = os.environ.get(variable)
    return os.pathsep.join([path, known]) if known else path


class _Headings(HTMLParser):
    """Collects (level, anchor, text) of the h2 and h3 headings that have an id."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str, str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        anchor = dict(attrs).get("id")
        if tag in ("h2", "h3") and anchor:
            self.found.append((int(tag[1]), anchor, ""))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "h3"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            level, anchor, text = self.found[-1]
            self.found[-1] = (level, anchor, text + data)


def contents(page: str) -> Markup:
    """Return the list of a page's sections (its h2 headings) as links, in order."""
    reader = _Headings()
    reader.feed(page)
    links = Markup("").join(
        Markup('<li><a href="#{}">{}</a></li>').format(escape(anchor), escape(text.strip()))
        for level, anchor, text in reader.found
        if level == 2
    )
    return Markup('<nav aria-label="Contents"><p>Contents</p><ol>{}</ol></nav>').format(links)
