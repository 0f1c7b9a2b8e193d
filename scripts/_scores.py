"""The scores of a shard, joined from the tables of its measurements."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def scores(snakemake: Any) -> "pd.DataFrame":
    """One row per pair, direction, layer and head of the shard."""
    from counterpoint.scoring.merge import merge_heads

    directions = snakemake.params.settings["directions"]
    return merge_heads([snakemake.input.curves], [snakemake.input.gradients], directions)
