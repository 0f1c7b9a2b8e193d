"""Integrate gradients with all heads of a layer moving together, for a shard."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.integrated_gradients_table.score_integrated_gradients`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.integrated_gradients_table import score_integrated_gradients

    scores = score_integrated_gradients(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        **snakemake.params.settings["integrated_gradients"],
    )
    write_table(scores, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
