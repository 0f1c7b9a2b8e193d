"""Heads and layers that a configuration asks for, checked at start where the model is at hand.

What a model's `config.json` says of its size is read without the libraries of the model, since
every start of the workflow passes here. Where it says nothing that is understood, or the model is
not there yet, the first job that uses a head or a layer checks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.artifacts import user_path
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.workflow.config import Configuration, check_heads, number_of_targets

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads")


def check_named_heads(configuration: Configuration, models: Path) -> None:
    """Raise UserError for heads of any study that its model does not have.

    ``models`` is the folder that models are fetched into.
    """
    for name, study, n_layers, n_heads in _declared(configuration, models):
        asked = {
            f"studies.{name}.counterfactuals.targets": study["counterfactuals"]["targets"],
            f"studies.{name}.edges.receivers": study["edges"]["receivers"],
        }
        for key, wanted in asked.items():
            if isinstance(wanted, Mapping) and number_of_targets(wanted) > n_layers * n_heads:
                if key.endswith("edges.receivers") and study["edges"]["pairs"] == "none":
                    continue
                raise UserError(
                    f"{key}: {number_of_targets(wanted)} heads are asked for, but the model has "
                    f"{n_layers * n_heads}"
                )
        for place, heads in (
            *((key, [] if isinstance(one, Mapping) else one) for key, one in asked.items()),
            (f"studies.{name}.report.heads", study["report"]["heads"]),
            *(
                (f"studies.{name}.{block}.heads", _listed(study[block]["heads"]))
                for block in ("positions", "position_curves")
            ),
        ):
            check_heads(heads, n_layers=n_layers, n_heads=n_heads, key=place)


def check_depth_of_baselines(configuration: Configuration, models: Path) -> None:
    """Raise UserError for scores of any study that its model has too few layers for.

    AtP*'s GradDrop divides by the number of layers − 1 (`measures.gradient_dropout`, which is not
    imported here because it imports torch, refuses such a model too).
    """
    for name, study, n_layers, _ in _declared(configuration, models):
        if n_layers == 1 and "atp_star" in study["baselines"]:
            raise UserError(
                f"studies.{name}.baselines: the model {study['model']} has a single layer, and "
                "atp_star divides by the number of layers − 1; leave atp_star out of baselines"
            )


def _declared(
    configuration: Configuration, models: Path
) -> Iterator[tuple[str, Mapping[str, Any], int, int]]:
    """Name and settings of each study whose model says how large it is, its layers and heads."""
    for name, study in configuration.studies.items():
        entry = configuration.models[study["model"]]
        own = [user_path(entry["path"])] if entry["source"] == "local" else []
        shape = declared_shape([*own, models / study["model"]])
        if shape is not None:
            yield name, study, *shape


def _listed(heads: list[list[int]] | str) -> list[list[int]]:
    """The heads that are named; a word such as `all` names none."""
    return [] if isinstance(heads, str) else heads


def declared_shape(folders: Iterable[Path]) -> tuple[int, int] | None:
    """Layers and heads by the first `config.json` in ``folders``, or None where it does not say."""
    for folder in folders:
        try:
            stored = parsed_json((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(stored, dict):
            text = stored.get("text_config")
            sizes = [_size(text if isinstance(text, dict) else stored, k) for k in (LAYERS, HEADS)]
            return (sizes[0], sizes[1]) if sizes[0] and sizes[1] else None
    return None


def _size(stored: Mapping[str, Any], keys: Iterable[str]) -> int:
    found = {stored[key] for key in keys if isinstance(stored.get(key), int)}
    return int(found.pop()) if len(found) == 1 else 0
