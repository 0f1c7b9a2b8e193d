"""What a bad input is, and how it is read where the Snakefile and its jobs read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from counterpoint.files.artifacts import user_path
from counterpoint.pairs import hub
from counterpoint.pairs.pair_files import count_rows
from counterpoint.workflow.config import Configuration, resolve
from counterpoint.workflow.config_layers import from_command_line, read_layers
from counterpoint.workflow.named_heads import check_depth_of_baselines, check_named_heads
from tests.helpers.small_study import LEFT_OUT

CONFIG = "small.yaml"


@dataclass(frozen=True)
class Case:
    """One bad input and what its message has to say."""

    name: str
    told: Sequence[str]
    """Texts that the message holds: the place (file, row or key) and what was expected there."""
    changes: Mapping[str, Any] | None = None
    """Values to put at dotted keys of the small configuration; `small.` stands for its study."""
    text: str | bytes | None = None
    """The whole of the configuration file instead."""
    files: Mapping[str, str | bytes] | None = None
    """Further files."""
    values: Mapping[str, Any] | None = None
    """What Snakemake makes of `--config` on its command line."""
    arguments: Sequence[str] = ()
    """Those of Snakemake's command line."""
    prepare: Callable[[Path], object] | None = None
    """What else is done to the folder first."""


def small() -> dict[str, Any]:
    """A small study of one search."""
    return {
        "study": "small",
        "models": {"tiny": {"source": "local", "path": "tiny"}},
        "studies": {
            "small": {
                "model": "tiny",
                "pairs": "small.csv",
                "shard_size": 2,
                **deepcopy(LEFT_OUT),
                "statistics": {"bootstrap_samples": 20, "permutations": 30, "top_k": 3},
                "counterfactuals": {
                    "targets": [[1, 2]],
                    "methods": ["descent"],
                    "budget": {"evaluations": 40},
                },
                "report": {"title": "A small study", "heads_shown": 2},
            }
        },
    }


def configured(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The small configuration with values put at dotted keys; a value that is `...` removes one."""
    config = small()
    for path, value in changes.items():
        whole = f"studies.{path}" if path.startswith("small.") else path
        *parents, last = whole.split(".")
        node: dict[str, Any] = config
        for key in parents:
            node = node.setdefault(key, {})
        if value is ...:
            del node[last]
        else:
            node[last] = value
    return config


def set_up(case: Case, folder: Path) -> None:
    """Write the files of a case into a folder that has the model `tiny` and `small.csv`."""
    text = case.text
    if text is None:
        text = yaml.safe_dump(configured(case.changes or {}), allow_unicode=True)
    for name, content in {CONFIG: text, **(case.files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if case.prepare is not None:
        case.prepare(folder)


def read_as_the_snakefile(case: Case, files: Sequence[str] = ()) -> Configuration:
    """Everything that the Snakefile asks before it has a plan, in the current folder; ``files`` are
    laid over the configuration of the case."""
    values = from_command_line(case.values or {}, case.arguments)
    layers = read_layers([CONFIG, *files], values)
    configuration = resolve(layers, source=CONFIG, is_named=True)
    check_named_heads(configuration, Path("resources/models"))
    check_depth_of_baselines(configuration, Path("resources/models"))
    for study in configuration.studies.values():
        if not hub.is_hub_file(study["pairs"]):
            count_rows(user_path(study["pairs"]))
    return configuration


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder."""
    found: dict[str, bytes | str] = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            found[path.relative_to(folder).as_posix()] = (
                os.fspath(path.readlink()) if path.is_symlink() else path.read_bytes()
            )
    return found
