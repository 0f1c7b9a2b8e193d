"""Merge one table of a study's shards."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `merging.merge_tables` with the columns that tell rows apart."""
    from counterpoint.measures.tables.merging import merge_tables

    n_rows = merge_tables(
        snakemake.input.scores,
        snakemake.output[0],
        snakemake.params.columns,
        snakemake.params.settings["directions"],
    )
    log.info("%d rows", n_rows)


if __name__ == "__main__":
    run(main, snakemake)
