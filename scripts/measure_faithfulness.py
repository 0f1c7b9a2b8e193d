"""Patch the first k heads by each score together, for every pair of a shard."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load
from _scores import scores


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.faithfulness_table.score_faithfulness`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.faithfulness_table import score_faithfulness

    table = score_faithfulness(
        load(snakemake),
        snakemake.input.activations,
        scores(snakemake),
        measurement(snakemake),
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
