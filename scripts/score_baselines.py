"""Score every head of a shard as other papers do."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.baseline_score_table.score_baselines`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.baseline_score_table import score_baselines

    scores = score_baselines(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        snakemake.params.settings["baselines"],
    )
    write_table(scores, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
