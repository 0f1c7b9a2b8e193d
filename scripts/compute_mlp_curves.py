"""Compute the measures of the output curves of every MLP of a shard."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `curve_table.score_curves` for MLPs; their curves are not kept."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.curve_table import score_curves

    scores, _ = score_curves(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        "mlp",
        **{**snakemake.params.settings["curves"], "keep": "none"},
    )
    write_table(scores, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
