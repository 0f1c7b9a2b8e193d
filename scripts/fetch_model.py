"""Fetch one model into resources/models/{model}/."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.models.fetch.fetch_model` with the model's entry in the configuration."""
    from counterpoint.models.fetch import fetch_model
    from counterpoint.models.names import keep_names

    folder = Path(snakemake.output.provenance).parent
    fetch_model(snakemake.params.specification, folder, progress=log.info)
    try:
        keep_names(folder)
    except Exception as unknown:  # noqa: BLE001 - jobs ask again, and say what is wrong
        log.info("TransformerLens names no modules in it: %s", unknown)


if __name__ == "__main__":
    run(main, snakemake, offline=False)
