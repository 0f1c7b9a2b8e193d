"""Files that the package needs and that stand at the top of its checkout: one copy, two places.

``config.yaml`` (the models known by name), ``config.schema.yaml`` and the pair sets are a study's
files as much as the package's, so they are kept where a study is made. A wheel takes them along
inside the package; a checkout, also one that is installed editable, has them where they are.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = _PACKAGE / "shipped"

CHECKOUT: Path | None = None if _SHIPPED.is_dir() else _PACKAGE.parent
"""The folder of the checkout that this package is imported from; None for an installed wheel."""


def shipped_file(name: str) -> Path:
    """Where the file (or folder) is that a checkout has under ``name``, as in "config.yaml"."""
    return (_SHIPPED if CHECKOUT is None else CHECKOUT) / name
