"""Merge one table of a study's shards."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.scoring.merge.merge_tables` with the columns that tell rows apart."""
    from counterpoint.files import write_table
    from counterpoint.scoring.merge import merge_tables

    table = merge_tables(
        snakemake.input.scores,
        snakemake.params.columns,
        snakemake.params.settings["directions"],
    )
    write_table(table, snakemake.output[0])
    log.info("%d rows", len(table))


if __name__ == "__main__":
    run(main, snakemake)
