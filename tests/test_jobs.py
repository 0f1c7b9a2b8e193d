"""What the scripts of the workflow have around their one function."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.small_study import ROOT

LEAVING_A_THREAD = """
import time
from pyarrow import PythonFile, csv

class Slow:
    closed = False
    def readable(self): return True
    def seekable(self): return False
    def writable(self): return False
    def close(self): pass
    def read(self, size):
        time.sleep(0.3)
        return b"a,b\\n" + b"1,2\\n" * (size // 4)

def main(snakemake):
    atexit.register(lambda: print("what was registered for the end"))
    global reader
    # Arrow's threads go on reading ahead when main has returned.
    reader = csv.open_csv(PythonFile(Slow(), mode="r"))
    reader.read_next_batch()
"""

WARNING = """
def main(snakemake):
    import warnings
    from _job import log
    log.warning("%s", "a.csv: 2 of 3 pairs are doubtful 100 %")
    log.info("some progress")
    warnings.warn("a library's own")
"""

MISTAKEN = """
def main(snakemake):
    from counterpoint.errors import UserError
    raise UserError("bad.csv lacks a column")
"""

DEFECTIVE = """
def main(snakemake):
    raise ValueError("no such thing")
"""


def run(folder: Path, main: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a job of these lines; how it ended, and its log."""
    log = folder / "logs" / "job.log"
    script = folder / "script.py"
    script.write_text(
        f"import atexit, sys\nfrom types import SimpleNamespace\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        f"from _job import run\n{main}\n"
        f"run(main, SimpleNamespace(log=[{str(log)!r}], threads=1, rule='a_rule', wildcards=['w'], "
        "input=[], output=[]))"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    return done, log.read_text()


def test_a_job_whose_libraries_still_run_threads_has_succeeded(tmp_path: Path) -> None:
    done, log = run(tmp_path, LEAVING_A_THREAD)
    assert done.returncode == 0, log
    assert "done in" in log
    assert "what was registered for the end" in log
    assert done.stderr.startswith("  a_rule w: done in")


def test_warnings_reach_the_terminal_as_such(tmp_path: Path) -> None:
    done, log = run(tmp_path, WARNING)
    assert done.returncode == 0
    first, second, *_ = done.stderr.splitlines()
    assert first == "warning: a.csv: 2 of 3 pairs are doubtful 100 %"
    assert second == "  a_rule w: some progress"
    assert "WARNING counterpoint: a.csv: 2 of 3" in log
    assert "a library's own" in log and "a library's own" not in done.stderr


@pytest.mark.parametrize(
    ("main", "message", "traceback"),
    [
        (MISTAKEN, "error: bad.csv lacks a column", False),
        (DEFECTIVE, "failed: ValueError: no such thing", True),
    ],
)
def test_a_failed_job_says_why(tmp_path: Path, main: str, message: str, traceback: bool) -> None:
    done, log = run(tmp_path, main)
    assert done.returncode == 1
    assert done.stderr.strip() == message
    assert message in log
    assert ("Traceback" in log) == traceback
