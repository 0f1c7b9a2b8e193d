"""Compute the output curves of every MLP of a shard."""

from typing import Any

from _job import run
from _model import load_model


def main(snakemake: Any) -> None:
    """Call `counterpoint.stages.curves.measure_curves` for MLPs; only the measures are kept."""
    from counterpoint.files import write_table
    from counterpoint.stages.curves import measure_curves

    settings = snakemake.params.settings
    scores, _ = measure_curves(
        load_model(snakemake),
        snakemake.input.activations,
        component="mlp",
        directions=settings["directions"],
        metric=settings["metric"],
        memory_mb=settings["memory_mb"],
        **{**settings["curves"], "keep": "none"},
    )
    write_table(scores, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
