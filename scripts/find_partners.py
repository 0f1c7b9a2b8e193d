"""Split the disagreement of IG joint and AP over partner heads, for a shard."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load
from _scores import scores


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.interaction_table.score_interactions`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.interaction_table import score_interactions

    table = score_interactions(
        load(snakemake),
        snakemake.input.activations,
        scores(snakemake),
        measurement(snakemake),
        **snakemake.params.settings["interaction"],
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
