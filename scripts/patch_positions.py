"""Patch every component at every position, for the chosen pairs of a shard."""

from typing import Any

from _job import run
from _measurement import chosen_pairs, measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.position_table.score_positions`."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.measures.tables.position_table import no_rows, score_positions

    settings = dict(snakemake.params.settings["positions"])
    first, heads = settings.pop("pairs"), settings.pop("heads")
    chosen = chosen_pairs(snakemake, first)
    if not chosen:
        write_table(no_rows(), snakemake.output.scores)
        return
    table = score_positions(
        load(snakemake),
        snakemake.input.activations,
        read_table(snakemake.input.pairs),
        measurement(snakemake),
        chosen=chosen,
        heads=None if heads == "all" else [(layer, head) for layer, head in heads],
        **settings,
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
