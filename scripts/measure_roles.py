"""Patch each head's query, key, value and pattern alone, for the pairs of a shard."""

from typing import Any

from _job import run
from _measurement import chosen_pairs, measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.role_table.score_roles`."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.measures.tables.role_table import no_rows, score_roles

    settings = snakemake.params.settings["roles"]
    if not chosen_pairs(snakemake, settings["pairs"]):
        write_table(no_rows(), snakemake.output.scores)
        return
    table = score_roles(
        load(snakemake),
        snakemake.input.activations,
        measurement(snakemake),
        **settings,
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
