"""Which files in a study's folder are of its configuration, and which an earlier one has left.

Snakemake makes what a configuration asks for and removes nothing that another one has asked for
before: searches for other heads, shards beyond the last one, a table of MLPs, perhaps of other
pairs or of another model. What is said of a study is not to be read from them.

Settings that are not given, as in a notebook that is run by hand, leave nothing out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Literal

from counterpoint.models.beginning_token import BOTH

SEARCHES = (
    "search_counterfactuals",
    "merge_searches",
    "validate_counterfactuals",
    "merge_validations",
)
"""Rules whose files are named by head, and by method and seed where there are several."""


def has_mlps(settings: Mapping[str, Any]) -> bool:
    """Whether MLPs are measured."""
    return "mlp" in settings.get("components", ("mlp",))


def has_edges(settings: Mapping[str, Any]) -> bool:
    """Whether there are edges."""
    return settings.get("edges", {}).get("pairs", "all") != "none"


def has_positions(settings: Mapping[str, Any]) -> bool:
    """Whether single positions are patched."""
    return settings.get("positions", {}).get("pairs", "all") != "none"


def has_position_curves(settings: Mapping[str, Any]) -> bool:
    """Whether curves at single positions are traced."""
    return settings.get("position_curves", {}).get("pairs", "all") != "none"


def has_baselines(settings: Mapping[str, Any]) -> bool:
    """Whether the heads are scored by other methods, too."""
    return bool(settings.get("baselines", True))


def has_atlas(settings: Mapping[str, Any]) -> bool:
    """Whether there is an atlas."""
    return bool(settings.get("counterfactuals", {}).get("atlas", {}).get("seeds", True))


def has_roles(settings: Mapping[str, Any]) -> bool:
    """Whether queries, keys, values and patterns of heads are patched."""
    return settings.get("roles", {}).get("pairs", "all") != "none"


def has_patterns(settings: Mapping[str, Any]) -> bool:
    """Whether attention patterns are kept."""
    return settings.get("patterns", {}).get("pairs", "all") != "none"


def has_circuits(settings: Mapping[str, Any], level: Literal["nodes", "edges"]) -> bool:
    """Whether circuits are sought, as sets of nodes or of edges."""
    circuit = settings.get("circuit", {})
    return circuit.get("pairs") != "none" and circuit.get("level", "both") in (level, "both")


def has_answers(settings: Mapping[str, Any]) -> bool:
    """Whether effects on answers are measured."""
    return settings.get("answers", {}).get("pairs", "all") != "none"


def are_compared(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the comparison of methods below a study's ``folder``, which a command of its own
    makes, is of these settings."""
    path = folder / "methods" / "settings.json"
    if not path.exists():
        return True
    stored = json.loads(path.read_text(encoding="utf-8"))
    return all(stored[key] == settings[key] for key in stored if key in settings)


def targets(folder: Path, settings: Mapping[str, Any]) -> set[tuple[int, int]] | None:
    """The heads, as (layer, head), that pairs are searched for; None where nothing says which.

    Where the settings do not name them, they are those of the file below the study's ``folder``.
    """
    wanted = settings.get("counterfactuals", {}).get("targets")
    if isinstance(wanted, Mapping):
        chosen = folder / "counterfactuals" / "targets.json"
        wanted = json.loads(chosen.read_text(encoding="utf-8")) if chosen.exists() else None
    return None if wanted is None else {(layer, head) for layer, head in wanted}


def is_current(
    benchmark: PurePath,
    settings: Mapping[str, Any],
    shards: int | None,
    heads: set[tuple[int, int]] | None,
) -> bool:
    """Whether a benchmark file, seen from the folder of them, is of a job of this configuration.

    ``shards`` is the study's number of shards, ``heads`` are its `targets`; None counts all.
    """
    rule, name = benchmark.parts[0].removesuffix(".tsv"), benchmark.name.removesuffix(".tsv")
    optional = {
        "compute_mlp_curves": has_mlps(settings),
        "merge_mlps": has_mlps(settings),
        "measure_roles": has_roles(settings),
        "merge_roles": has_roles(settings),
        "record_patterns": has_patterns(settings),
        "compute_edges": has_edges(settings),
        "merge_edges": has_edges(settings),
        "patch_positions": has_positions(settings),
        "merge_positions": has_positions(settings),
        "trace_positions": has_position_curves(settings),
        "merge_position_curves": has_position_curves(settings),
        "find_circuits": has_circuits(settings, "nodes"),
        "find_edge_circuits": has_circuits(settings, "edges"),
        "measure_answers": has_answers(settings),
        "search_atlas": has_atlas(settings),
        "verify_atlas": has_atlas(settings),
        "score_baselines": has_baselines(settings),
        "compare_scores": has_baselines(settings),
        "compare_beginnings": settings.get("prepend_bos", BOTH) == BOTH,
    }
    if not optional.get(rule, True):
        return False
    if rule != name and name.isdigit():
        return shards is None or int(name) < shards
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\w+?))?(?:\.(\d+))?", name)
    if rule not in SEARCHES or found is None:
        return True
    layer, head, method, seed = found.groups()
    searches = settings.get("counterfactuals", {})
    return (
        (heads is None or (int(layer), int(head)) in heads)
        and (method is None or method in searches.get("methods", (method,)))
        and (seed is None or int(seed) in searches.get("seeds", (int(seed),)))
    )
