"""Where what is fetched once is kept: in a checkout where the workflow keeps it, else in the user's
folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

from counterpoint.files.shipped_files import CHECKOUT

VARIABLE = "COUNTERPOINT_CACHE"
"""A variable of the environment that names another folder."""


def models_folder() -> Path:
    """The folder of fetched models, one folder for each.

    That of `COUNTERPOINT_CACHE` where it is set; in a checkout ``resources/models``, which the
    workflow uses as well; else ``models`` in the user's own folder for Counterpoint's caches
    (``~/.cache/counterpoint`` on Linux).
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser() / "models"
    if CHECKOUT is not None:
        return CHECKOUT / "resources" / "models"
    from platformdirs import user_cache_path

    return user_cache_path("counterpoint", appauthor=False) / "models"
