"""Merge the scores of a study's shards."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.merging` on the tables and curves of all shards."""
    from counterpoint.files.artifacts import read_table
    from counterpoint.measures.tables.merging import merge_curves, merge_heads, merge_tables
    from counterpoint.pairs.doubtful_pairs import doubtful_answers, lines

    given, made = snakemake.input, snakemake.output
    settings = snakemake.params.settings
    directions = settings["directions"]
    n_pairs = merge_tables(given.baseline, made.baseline, ["pair"])
    merge_curves(given.curves, made.curves)
    n_rows = merge_heads(
        given.scores, given.gradients, made.heads, directions, baselines=given.baselines
    )
    doubts = doubtful_answers(read_table(made.baseline), metric=settings["metric"])
    for line in lines(doubts, snakemake.wildcards.study):
        log.warning("%s", line)
    log.info("%d rows, %d pairs", n_rows, n_pairs)


if __name__ == "__main__":
    run(main, snakemake)
