"""Stands in the place of scripts/_job.py in a copy of the project: hands each job on.

Snakemake starts every script in its own interpreter, from where all of its packages can be
imported. This `run` calls the interpreter that environments.json names for the script instead, in
isolated mode, with the job as JSON, so that the script has its environment and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("counterpoint")


def run(main: Callable[[Any], None], snakemake: Any, *, offline: bool = True) -> None:
    """Run the script of ``main`` in its environment; what it does with ``offline`` is its own."""
    script = Path(main.__globals__["__file__"])
    plan = json.loads(Path(snakemake.scriptdir, "environments.json").read_text())
    folder = Path(plan["folders"][plan["scripts"][script.name]])
    job = {
        name: _listed(getattr(snakemake, name))
        for name in ("input", "output", "params", "wildcards", "log")
    }
    job |= {name: getattr(snakemake, name) for name in ("threads", "rule", "scriptdir")}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"
    }
    done = subprocess.run(
        [folder / "bin" / "python", "-I", plan["driver"], plan["originals"], script.name],
        input=json.dumps(job),
        text=True,
        env={**kept, "PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"},
        check=False,
    )
    if done.returncode == 0:
        with Path(plan["ran"]).open("a") as stream:
            stream.write(f"{script.name} {plan['scripts'][script.name]}\n")
    sys.exit(done.returncode)


def _listed(values: Any) -> dict[str, Any]:
    """A list of Snakemake's, whose keys name some of its values."""
    names = values.keys()
    return {"values": list(values), "named": {name: getattr(values, name) for name in names}}
