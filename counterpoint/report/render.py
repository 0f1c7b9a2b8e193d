"""From results to a page and a notebook: two notebooks are executed, and `page` makes HTML of one.

The first, by papermill, holds the sections of the page, and is not kept. The second, for readers,
shows tables and figures to go on from: it is executed in the folder of the results, which it calls
``.``, and left there, so that it can be opened and run again wherever that folder is.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import counterpoint
from counterpoint.files.artifacts import atomic, write_text
from counterpoint.report.page import content_policy, contents, notebook_to_html

__all__ = ["content_policy", "contents", "notebook_to_html", "render_report"]

PathLike = str | os.PathLike[str]

KERNEL = "counterpoint-of-this-python"
"""The kernel that notebooks run in: no name that a user gives to one."""


def render_report(
    notebook: PathLike,
    parameters: Mapping[str, Any],
    output_ipynb: PathLike,
    output_html: PathLike,
    views: PathLike | None = None,
) -> None:
    """Execute ``notebook`` with ``parameters``, make the page of it, and leave ``views`` executed.

    ``views`` is the notebook for readers, executed in the folder of ``output_ipynb``; without one
    the executed ``notebook`` itself is left. The template is the folder ``template`` beside it.
    Both files are written whole or not at all. Raises papermill's PapermillExecutionError, or
    nbclient's CellExecutionError for ``views``, which hold the traceback, when a cell fails.
    """
    # While papermill runs, this process stands in another folder.
    notebook, output_ipynb, output_html = (
        Path(path).resolve() for path in (notebook, output_ipynb, output_html)
    )
    with (
        _kernel_surroundings(),
        atomic(output_ipynb) as temporary,
        # Kernels are processes of their own; here is waited for them only.
        ThreadPoolExecutor(1) as beside,
    ):
        left = beside.submit(_run_in, Path(views).resolve(), output_ipynb.parent) if views else None
        executed = _run_with(parameters, notebook, output_ipynb.name)
        # A page that cannot be made leaves no notebook either.
        page = notebook_to_html(executed, notebook.parent / "template")
        _write_notebook(left.result() if left else executed, temporary)
    write_text(page, output_html)


def _run_with(parameters: Mapping[str, Any], notebook: Path, name: str) -> Any:
    """A notebook executed with parameters, which notes ``name`` as its own."""
    import papermill

    with tempfile.TemporaryDirectory(prefix="counterpoint-notebook-") as place:
        executed = papermill.execute_notebook(
            str(notebook),
            str(Path(place, name)),
            parameters=dict(parameters),
            kernel_name=KERNEL,
            cwd=str(notebook.parent),
            progress_bar=False,
            log_output=False,
        )
    # Papermill notes the temporary place; the reader should see the lasting names.
    executed.metadata["papermill"].update(input_path=notebook.name, output_path=name)
    return executed


def _run_in(notebook: Path, folder: Path) -> Any:
    """A notebook executed as it is, in ``folder``.

    Not by papermill, which moves this whole process to the folder that a notebook runs in.
    """
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        read,
        kernel_name=KERNEL,
        resources={"metadata": {"path": str(folder)}},
        timeout=None,
        record_timing=False,
    )
    kernel = read.metadata.kernelspec
    executed = client.execute()
    # The client notes the kernel that it has used, which nobody else has.
    executed.metadata.kernelspec = kernel
    return executed


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
