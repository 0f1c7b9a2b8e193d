"""What a model is called: a key of the configuration, a folder or file, a repository on the hub.

A *specification* is an entry of ``models:`` in the configuration, which `fetch.fetch_model` reads.
The models known by name are those of the checkout's ``config.yaml``, also in an installed package.
No torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError, did_you_mean
from counterpoint.files.allowed_names import is_repository
from counterpoint.files.artifacts import is_folder, user_path
from counterpoint.files.shipped_files import shipped_file
from counterpoint.files.yaml_and_json import plain, read_mapping


@cache
def known_models() -> dict[str, dict[str, Any]]:
    """The specifications of the models known by name."""
    models: dict[str, dict[str, Any]] = plain(read_mapping(shipped_file("config.yaml")))["models"]
    return models


def specified(
    wanted: str, models: Mapping[str, Mapping[str, Any]], folder: Path | None = None
) -> tuple[str, dict[str, Any]]:
    """A key for the model ``wanted`` and its specification: one of ``models``, or a new one.

    Relative paths are seen from ``folder`` (default: here). Raises UserError for what is neither a
    key of ``models`` nor a folder, a file of weights, or the name of a repository.
    """
    if wanted in models:
        return wanted, dict(models[wanted])
    path = user_path(wanted, folder)
    if (wanted and is_folder(path)) or path.suffix.lower() in (".gguf", ".safetensors"):
        # The digest keeps two folders of the same name apart.
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
        return f"{_slug(path.resolve().name)}-{digest}", {"source": "local", "path": wanted}
    if is_repository(wanted):
        key = _slug(wanted.replace("/", "--"))
        return key, {"source": "huggingface", "repository": wanted, "revision": "main"}
    raise UserError(
        f"model: {wanted} is neither a key of models ({', '.join(models) or 'none'}), nor "
        "an existing folder, nor a .gguf or .safetensors file, nor a Hugging Face repository "
        "written organisation/name;"
        f"{did_you_mean(wanted, list(models))} check the spelling or add it under models"
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "model"
