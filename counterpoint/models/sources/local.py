"""Source `local`: a folder or a file of the user's, and which files of it a workflow must watch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.artifacts import user_path
from counterpoint.models.gguf.split_files import shards_of
from counterpoint.models.model_folder import is_read
from counterpoint.models.sources.conversion import weights_into
from counterpoint.models.sources.specification import Tell, text_of
from counterpoint.models.weight_files import weight_names


def local_files(specification: Mapping[str, Any]) -> list[Path]:
    """Return the files a local model is made of, so that a workflow can watch them; else [].

    A folder that is missing gives an empty list: `fetch_model` reports it properly.
    """
    if specification.get("source") != "local" or not isinstance(specification.get("path"), str):
        return []
    path = user_path(specification["path"])
    found = set(shards_of(path)) if path.is_file() else set()
    if found and path.suffix.lower() != ".safetensors":
        return sorted(found)
    folder = path.parent if found else path
    # An adapter that comes later must be noticed, too.
    found |= {one for one in folder.glob("*") if is_read(one.name)}
    with suppress(ValueError):
        found |= {folder / name for name in weight_names(folder)}
    return sorted(one for one in found if one.is_file())


def from_local(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Tell
) -> dict[str, Any]:
    """Bring the files at `path:` into ``partial``; return their provenance.

    Raises UserError for a path that is not there or holds no model.
    """
    given = text_of(specification, "path", "local")
    path = user_path(given)
    if not path.exists():
        raise UserError(
            f"models: there is no {given} (looked for {path.absolute()}). Expected a folder with "
            "config.json, model.safetensors and a tokenizer; correct `path:` or MODEL=."
        )
    conversion = weights_into(path, partial, given, report)
    return {"source": "local", "path": given, "conversion": conversion}


def keep_apart(specification: Mapping[str, Any], target: Path) -> None:
    """Raise UserError when replacing `target` would remove the user's own files."""
    given = text_of(specification, "path", "local")
    original = user_path(given).resolve()
    if target.resolve() in (original, *original.parents):
        raise UserError(
            f"models: the path {given} of {target.name!r} lies in {target}, which Counterpoint "
            "replaces as a whole. Keep the model somewhere else, or give it another name."
        )
