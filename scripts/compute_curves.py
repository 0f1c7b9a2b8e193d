"""Compute the output curves of every head of a shard, with their measures."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.curve_table.score_curves` for heads."""
    from counterpoint.files.artifacts import write_table, write_tensors
    from counterpoint.measures.tables.curve_table import score_curves

    scores, curves = score_curves(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        **snakemake.params.settings["curves"],
    )
    write_table(scores, snakemake.output.scores)
    write_tensors(curves, snakemake.output.curves)


if __name__ == "__main__":
    run(main, snakemake)
