"""Fetch one model into resources/models/{model}/."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.models.fetch.fetch_model` with the model's entry in the configuration."""
    from counterpoint.models.fetch import fetch_model
    from counterpoint.models.names import UNKNOWN, keep_names

    folder = Path(snakemake.output.provenance).parent
    fetch_model(snakemake.params.specification, folder, progress=log.info)
    try:
        keep_names(folder)
    except UNKNOWN as reason:
        # Not the end of it: jobs ask again, of the whole model, and say what is wrong.
        log.info("the names of its modules are not known yet: %s", reason)


if __name__ == "__main__":
    run(main, snakemake, offline=False)
