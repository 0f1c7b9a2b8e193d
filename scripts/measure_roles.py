"""Patch each head's query, key, value and pattern alone, for the pairs of a shard."""

from typing import Any

from _job import run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.role_table.score_roles`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.role_table import score_roles

    table = score_roles(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        **snakemake.params.settings["roles"],
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
