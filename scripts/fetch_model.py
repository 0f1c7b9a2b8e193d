"""Fetch one model into resources/models/{model}/."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.models.fetch.fetch_model` with the model's entry in the configuration."""
    from counterpoint.models.fetch import fetch_model
    from counterpoint.models.folder_architecture import UNKNOWN, keep_names

    folder = Path(snakemake.output.provenance).parent
    fetch_model(snakemake.params.specification, folder, progress=log.info)
    try:
        keep_names(folder)
    except UNKNOWN as reason:
        # Not the end of it: the folder is what was asked for. Jobs that measure say it again.
        log.info("%s", reason)


if __name__ == "__main__":
    run(main, snakemake, offline=False)
