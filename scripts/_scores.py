"""The scores of a shard, joined from the tables of its measurements."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def scores(snakemake: Any) -> "pd.DataFrame":
    """One row per pair, direction, layer and head of the shard."""
    from counterpoint.files.artifacts import read_table
    from counterpoint.measures.tables.merging import join_heads

    return join_heads(
        read_table(snakemake.input.curves),
        read_table(snakemake.input.gradients),
        snakemake.params.settings["directions"],
    )
