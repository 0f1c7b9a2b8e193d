"""Merge the scores of MLPs of a study's shards."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.scoring.merge.merge_tables`."""
    from counterpoint.files import write_table
    from counterpoint.scoring.merge import merge_tables

    directions = snakemake.params.settings["directions"]
    mlps = merge_tables(snakemake.input.scores, ["pair", "direction", "layer"], directions)
    write_table(mlps, snakemake.output.mlps)


if __name__ == "__main__":
    run(main, snakemake)
