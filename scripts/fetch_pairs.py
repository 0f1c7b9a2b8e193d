"""Fetch a file of pairs from the Hugging Face hub."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.pairs.hub.fetch` with what the study names."""
    from counterpoint.pairs.hub import fetch, parse

    fetch(parse(snakemake.params.source), snakemake.output[0], progress=log.info)


if __name__ == "__main__":
    run(main, snakemake, offline=False)
