"""A full disk, too little memory and a folder that may not be written to, in one line each."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint.workflow.shortages import told_shortage

OUTPUTS = ["results/s/heads.parquet"]


def of_number(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("file", [None, "results/s/x.csv"])
def test_a_full_disk(number: int, file: str | None) -> None:
    said = told_shortage(of_number(number, file), OUTPUTS, 4000)
    assert said is not None and said.startswith(f"{file or OUTPUTS[0]}: ")
    assert "MB are free" in said and said.endswith("free some space and run again")


def test_words_of_libraries() -> None:
    full = (
        OSError("[Errno 28] Error writing bytes to file. Detail: No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    )
    for each in full:
        assert "the disk is full" in str(told_shortage(each, OUTPUTS, None))
    errors: tuple[Exception, ...] = (
        MemoryError(),
        of_number(errno.ENOMEM),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError("malloc of size 64 failed"),
    )
    for error in errors:
        assert "planned with 4000 MB" in str(told_shortage(error, OUTPUTS, 4000)), error


def test_a_folder_that_may_not_be_written_to() -> None:
    said = told_shortage(of_number(errno.EROFS, "results/s/x.csv"), OUTPUTS, 1)
    assert said is not None and "results/s/x.csv" in said and "chmod" in said


@pytest.mark.parametrize(
    "error", [ValueError("memory"), KeyError("disk"), of_number(errno.ENOENT, "x"), RuntimeError()]
)
def test_other_errors_are_none_of_these(error: Exception) -> None:
    assert told_shortage(error, OUTPUTS, 1) is None


@pytest.mark.parametrize("limit", ["disk", "memory"])
def test_a_job_says_so_without_a_traceback(tmp_path: Path, limit: str) -> None:
    """A device that is always full, and a process that may have 4 GB."""
    scripts = Path(__file__).parents[2] / "scripts"
    what = {
        "disk": "Path('/dev/full').open('wb', buffering=0).write(bytes(1))",
        "memory": "bytearray(1 << 33)",
    }[limit]
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nfrom pathlib import Path\nfrom types import SimpleNamespace as Some\n"
        f"sys.path.insert(0, {str(scripts)!r})\nfrom _job import run\n"
        f"def main(snakemake):\n    {what}\n"
        "run(main, Some(log=['job.log'], threads=1, rule='r', wildcards=[], input=[], "
        "output=['out.csv'], resources=Some(mem_mb=3000)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: out.csv: "), done.stderr
    assert ("the disk is full" if limit == "disk" else "planned with 3000 MB") in done.stderr
    assert len(done.stderr.splitlines()) == 1
    # Where it happened stands in the log.
    assert "Traceback" in (tmp_path / "job.log").read_text()
