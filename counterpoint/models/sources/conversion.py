"""What becomes of the weights of a model on the way into its folder: copied, or de-quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.models.model_folder import copy_files, refuse_unloadable
from counterpoint.models.sources.specification import Tell


def weights_into(path: Path, partial: Path, described: str, report: Tell) -> Any:
    """Bring a model folder or one of its files, or a GGUF file, into `partial`.

    Returns how it was converted (a mapping for provenance), or None when it was not.
    """
    if path.is_file() and (path.suffix.lower() == ".gguf" or _begins_as_gguf(path)):
        # Here, since it imports torch, which is not wanted where only `local_files` is.
        from counterpoint.models.gguf.importer import import_gguf

        return import_gguf(path, partial, described, report)
    given = None
    if path.is_file() and path.suffix.lower() == ".safetensors":
        given, path = path, path.parent
    if not path.is_dir():
        raise UserError(
            f"{described} is neither a .gguf nor a .safetensors file nor a folder; other weights "
            "cannot be used."
        )
    refuse_unloadable(path, described, str(path), given)
    copy_files(path, partial, given)
    return None


def _begins_as_gguf(path: Path) -> bool:
    """Whether a file is GGUF whatever it is called: some tools keep theirs under digests."""
    with path.open("rb") as stream:
        return stream.read(4) == b"GGUF"
