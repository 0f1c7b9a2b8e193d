"""Merge the scores of a study's shards."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.scoring.merge` on the tables and curves of all shards."""
    from counterpoint.files import write_arrays, write_table
    from counterpoint.scoring.merge import merge_curves, merge_heads, merge_tables

    directions = snakemake.params.settings["directions"]
    heads = merge_heads(snakemake.input.scores, snakemake.input.gradients, directions)
    write_table(merge_tables(snakemake.input.baseline, ["pair"]), snakemake.output.baseline)
    write_arrays(merge_curves(snakemake.input.curves), snakemake.output.curves)
    write_table(heads, snakemake.output.heads)
    log.info("%d rows, %d pairs", len(heads), heads["pair"].nunique())


if __name__ == "__main__":
    run(main, snakemake)
