"""Pairs from data sets on the Hugging Face hub: `hf://datasets/owner/name/path/to/file.csv`.

The spelling is that of `huggingface_hub` and pandas: `hf://datasets/owner/name@revision/file`.
Without a file, the data set's own conversion to Parquet is taken (the branch refs/convert/parquet,
which the hub keeps of most data sets), if it is a single file. The file has the same columns as any
other file of pairs.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from counterpoint.errors import UserError
from counterpoint.files.allowed_names import checked_name
from counterpoint.files.artifacts import PathLike, atomic

PREFIX = "hf://"
CONVERTED = "refs/convert/parquet"
"""The branch on which the hub keeps a data set as Parquet files."""

FOLDER = Path("resources/pairs/hub")
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")

# How the parts are told apart; what each may be says `allowed_names`.
_REVISION = r"refs/(?:convert|pr)/[^/@]+|[^/@]+"
_FORM = re.compile(
    rf"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>{_REVISION}))?"
    r"(?:/(?P<file>[^@]+))?/?"
)


@dataclass(frozen=True)
class HubFile:
    """A file of a data set; `file` is None for the only file of its conversion to Parquet."""

    repository: str
    revision: str | None
    file: str | None

    @property
    def local(self) -> Path:
        """Where the workflow keeps its copy, seen from where Snakemake runs."""
        parts = [self.repository.replace("/", "--")]
        if self.revision is not None:
            # No file's path has an @, so that no folder of a data set is taken for a revision.
            parts.append("@" + self.revision.replace("/", "--"))
        # To the workflow braces would be wildcards.
        file = re.sub(r"[{}]", "_", self.file or "converted.parquet")
        return FOLDER.joinpath(*parts, file)


def is_hub_file(text: str) -> bool:
    """Whether `text` means a file on the hub and not one on this machine."""
    return text.startswith(PREFIX)


def parse(text: str) -> HubFile:
    """What `hf://datasets/owner/name@revision/file` names.

    Raises UserError for another form, a name that no data set, revision or file can have (one that
    leaves its data set among them), and a file that is not of a kind that pairs are read from.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(
            f"pairs: {text} is not understood; expected hf://datasets/owner/name/file.csv, with "
            "@revision after the name if it is not the newest"
        )
    for kind, part in match.groupdict().items():
        if part is not None:
            checked_name(kind, part, f"pairs: {text}, its {kind}")
    file = match["file"]
    if file is not None and PurePosixPath(file).suffix.lower() not in SUFFIXES:
        raise UserError(
            f"pairs: {text} names no file that pairs are read from; expected one that ends in "
            f"{', '.join(SUFFIXES)}, or the data set's name alone"
        )
    return HubFile(match["repository"], match["revision"], file)


def fetch(wanted: HubFile, path: PathLike, *, progress: Callable[[str], object]) -> None:
    """Download `wanted` (or take it from the hub's cache on this machine) and copy it to `path`.

    Raises UserError, with the remedy, for an unknown data set, revision or file, a conversion that
    is not one file, and a hub that cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision, file = wanted.repository, wanted.revision, wanted.file
    try:
        if file is None:
            revision = revision or CONVERTED
            progress(f"asking the Hugging Face hub for the files of {name}")
            listed = HfApi().list_repo_files(name, revision=revision, repo_type="dataset")
            file = _only_file(name, revision, listed)
        progress(f"fetching {file} of {name} from the Hugging Face hub")
        found = hf_hub_download(name, file, revision=revision, repo_type="dataset")
    except GatedRepoError:
        raise UserError(
            f"The data set {name} is gated: accept its terms on "
            f"https://huggingface.co/datasets/{name}, log in with `hf auth login`, and run again."
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"The Hugging Face hub has no public data set {name!r}. Correct `pairs:` "
            "(hf://datasets/owner/name/file); for a private one log in with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        remedy = (
            "Name one of its files: hf://datasets/owner/name/file.csv."
            if revision == CONVERTED
            else "Correct what stands after @ (a branch, tag or commit)."
        )
        raise UserError(f"The data set {name} has no revision {revision}. {remedy}") from None
    except LocalEntryNotFoundError:  # an EntryNotFoundError too, so it must be asked for first
        raise _unreachable(name) from None
    except EntryNotFoundError:
        raise UserError(
            f"The data set {name} has no file {file}; look at "
            f"https://huggingface.co/datasets/{name}/tree/{revision or 'main'} for what it has."
        ) from None
    except (HTTPError, OSError):
        raise _unreachable(name) from None
    with atomic(path) as temporary:
        shutil.copyfile(found, temporary)


def _only_file(name: str, revision: str, listed: list[str]) -> str:
    files = sorted(path for path in listed if path.lower().endswith(SUFFIXES))
    # The copy is read as what its name says.
    if len(files) != 1 or not files[0].lower().endswith(".parquet"):
        some = ", ".join(files[:8]) + (", …" if len(files) > 8 else "")
        raise UserError(
            f"pairs: hf://datasets/{name} has {len(files)} "
            f"file{'s' * (len(files) != 1)} of rows at {revision}"
            f"{f' ({some})' if files else ''}; name the one that is meant, as in "
            f"hf://datasets/{name}@{revision}/{files[0] if files else 'file.csv'}"
        )
    return files[0]


def _unreachable(name: str) -> UserError:
    return UserError(
        f"The data set {name} cannot be downloaded: the Hugging Face hub cannot be reached and its "
        "cache on this machine does not hold the file. Connect, or download the file elsewhere and "
        "give its path."
    )
