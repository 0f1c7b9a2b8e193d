"""The files of a comparison of studies, read for its page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Comparison:
    """The tables of ``results/comparison`` and the claims of each study by its name."""

    folder: Path
    studies: pd.DataFrame
    heads: pd.DataFrame
    overlaps: pd.DataFrame
    claims: pd.DataFrame
    correlations: pd.DataFrame
    claims_of: Mapping[str, pd.DataFrame]

    @property
    def names(self) -> list[str]:
        """The studies in the order of the configuration."""
        return list(self.studies["study"])

    @property
    def metrics(self) -> list[str]:
        """The metrics, in the order in which studies name them."""
        return list(dict.fromkeys(self.studies["metric"]))

    @property
    def models(self) -> list[str]:
        """The models, in the order in which studies name them."""
        return list(dict.fromkeys(self.studies["model"]))


def load_comparison(folder: PathLike) -> Comparison:
    """Read ``results/comparison`` and, beside it, the claims of the studies that it names.

    Raises UserError when a file is missing.
    """
    folder = Path(folder)

    def needed(path: Path) -> pd.DataFrame:
        if not path.exists():
            raise UserError(
                f"{path}: this file is missing, and the comparison of studies needs it; run the "
                "workflow, which makes it"
            )
        return read_table(path)

    names = ("studies", "heads", "overlaps", "claims", "correlations")
    tables = {name: needed(folder / f"{name}.csv") for name in names}
    return Comparison(
        folder=folder,
        **tables,
        claims_of={
            name: needed(folder.parent / name / "claims.csv")
            for name in tables["studies"]["study"].astype(str)
        },
    )
