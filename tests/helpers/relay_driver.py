"""Runs one script of the workflow without Snakemake: the job comes as JSON on the standard input.

It is called by tests/helpers/relayed_job.py with the folder of the scripts and the name of one.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Listed(list):
    """Values of which some have names, as Snakemake gives them to scripts."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given["values"])
        vars(self).update(given["named"])

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if isinstance(key, str) else super().__getitem__(key)


if __name__ == "__main__":
    folder, name = sys.argv[1:]
    for absent in ("snakemake", "pytest"):
        if importlib.util.find_spec(absent) is not None:
            sys.exit(f"{absent} can be imported, so this is not the environment alone")
    job = {
        key: Listed(value) if isinstance(value, dict) else value
        for key, value in json.load(sys.stdin).items()
    }
    sys.path.insert(0, folder)
    script = str(Path(folder, name))
    runpy.run_path(script, {"snakemake": SimpleNamespace(**job)}, run_name="__main__")
