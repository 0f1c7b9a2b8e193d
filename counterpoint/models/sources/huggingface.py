"""Source `huggingface`: a repository of the hub, by way of the hub's cache on this machine."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial as bound
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.models.declared_model_kind import LOOKED_AT
from counterpoint.models.model_folder import (
    KEPT,
    PICKLES,
    copy_files,
    refuse_unloadable,
    what_lacks,
)
from counterpoint.models.sources.specification import Tell, name_of
from counterpoint.models.weight_files import weight_names


def from_huggingface(
    specification: Mapping[str, Any], partial: Path, work: Path, report: Tell
) -> dict[str, Any]:
    """Bring `repository:` at `revision:` into ``partial``; return its provenance.

    Raises UserError for a name that no repository or revision can have, a hub that cannot be
    reached and a repository that is none or no model.
    """
    repository = name_of(specification, "repository", "huggingface")
    revision = None
    if specification.get("revision") is not None:
        revision = name_of(specification, "revision", "huggingface")
    where = f"{repository} at {revision or 'its default revision'}"
    report(f"asking the Hugging Face hub for {where}")
    snapshot = _snapshot(repository, revision)
    refuse_unloadable(snapshot, f"the repository {where}", repository)
    copy_files(snapshot, partial)
    return {
        "source": "huggingface",
        "repository": repository,
        "revision": snapshot.name,
        "conversion": None,
    }


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
                if what_lacks(cached) is None:
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
