"""Fetch one model into resources/models/{model}/."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.models.fetch.fetch_model` with the model's entry in the configuration."""
    from counterpoint.models.fetch import fetch_model

    fetch_model(
        snakemake.params.specification,
        Path(snakemake.output.provenance).parent,
        progress=log.info,
    )


if __name__ == "__main__":
    run(main, snakemake, offline=False)
