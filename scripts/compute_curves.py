"""Compute the output curves of every component of a shard, with their measures."""

from typing import Any

from _job import run
from _model import load, measurement


def main(snakemake: Any) -> None:
    """Call `counterpoint.scoring.score_curves` for the heads, and for the MLPs where asked."""
    from counterpoint.files import write_table, write_tensors
    from counterpoint.scoring import score_curves

    model, settings = load(snakemake), snakemake.params.settings
    for component, outputs in (
        ("head", (snakemake.output.scores, snakemake.output.curves)),
        ("mlp", snakemake.output.get("mlps")),
    ):
        if outputs is None:
            continue
        table, curves = score_curves(
            model,
            snakemake.input.activations,
            measurement(snakemake),
            component,
            **settings["curves"],
        )
        if component == "head":
            write_table(table, outputs[0])
            write_tensors(curves, outputs[1])
        else:
            write_table(table, outputs)


if __name__ == "__main__":
    run(main, snakemake)
