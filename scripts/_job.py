"""What every script of the workflow needs around its one function.

* The package is importable from wherever Snakemake put its copy of the script.
* Output and errors of all kinds go into the rule's log; the terminal gets the progress that
  Counterpoint itself reports, one line at a time, and its warnings after `warning:`.
* The number of threads is the rule's; nothing but fetching a model may use the network.
* A user's mistake ends the job with its message alone, without a traceback.
* A job that has done its work has succeeded, whatever a library's threads still do.
* Too little disk or memory is told in a line with the remedy (`counterpoint.workflow.shortages`).
* Inputs are what was made, and what a job makes is recorded (`counterpoint.workflow.made_files`).
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from counterpoint.errors import UserError
from counterpoint.workflow.made_files import record_made, refuse_damaged
from counterpoint.workflow.shortages import told_shortage

log = logging.getLogger("counterpoint")

# By its own measure Python's collector walks, time and again, the many objects that libraries make
# while they are imported and that never die: 2 of the first 38 seconds of a search.
gc.set_threshold(100_000, 20, 50)

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def run(main: Callable[[Any], None], snakemake: Any, *, offline: bool = True) -> NoReturn:
    """Call ``main(snakemake)`` and end the process, with status 1 when it fails."""
    # These are read when torch and numpy are imported, which scripts do inside main.
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(snakemake.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    terminal = _redirect(Path(snakemake.log[0])) if snakemake.log else sys.stderr
    _report_progress(terminal, _name(snakemake))
    started = time.monotonic()
    inputs, outputs = _files(snakemake)
    try:
        refuse_damaged(inputs)
        main(snakemake)
        record_made(outputs, inputs)
    except UserError as mistake:
        _say(f"error: {mistake}", terminal)
        _end(1)
    except Exception as defect:
        logging.exception("failed")
        planned = getattr(getattr(snakemake, "resources", None), "mem_mb", None)
        shortage = told_shortage(defect, outputs, planned)
        if shortage is not None:
            _say(f"error: {shortage}", terminal)
            _end(1)
        _say(f"failed: {type(defect).__name__}: {defect}", terminal)
        _end(1)
    log.info("done in %.1f s", time.monotonic() - started)
    _end(0)


def _files(snakemake: Any) -> tuple[list[str], list[str]]:
    """The paths of a job's inputs and outputs."""
    return [str(each) for each in snakemake.input], [str(each) for each in snakemake.output]


def _end(status: int) -> NoReturn:
    """End the process without taking the interpreter down first.

    A thread of Arrow's that lets go of a Python object while the interpreter goes down aborts the
    process (github.com/apache/arrow/issues/34314), and Snakemake would then delete what a job has
    rightly written. Files are closed when ``main`` returns, and what libraries want to do at the
    end is done here.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _redirect(path: Path) -> Any:
    """Send this process's output to ``path``, what libraries write in C included.

    Returns a stream to the terminal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    return terminal


class _Short(logging.Formatter):
    """A line on the terminal: whose progress it is, or that it is a warning."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            return f"warning: {record.getMessage()}"
        return f"  {self.name}: {record.getMessage()}"


def _report_progress(terminal: Any, name: str) -> None:
    """Log everything to the log file, and Counterpoint's own progress to the terminal too."""
    whole = logging.StreamHandler(sys.stderr)
    whole.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[whole])
    logging.captureWarnings(True)
    if terminal is not sys.stderr:
        short = logging.StreamHandler(terminal)
        short.setFormatter(_Short(name))
        log.addHandler(short)


def _name(snakemake: Any) -> str:
    """The rule and what it is made for, as in "compute_curves ioi 3"."""
    return " ".join([str(snakemake.rule), *map(str, snakemake.wildcards)])


def _say(message: str, terminal: Any) -> None:
    print(message, file=sys.stderr, flush=True)
    if terminal is not sys.stderr:
        print(message, file=terminal, flush=True)
