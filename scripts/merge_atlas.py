"""Put the verified parts of an atlas together: one row per head of the model."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.atlas.atlas_table.merge`."""
    from counterpoint.counterfactuals.atlas.atlas_classes import atlas_class
    from counterpoint.counterfactuals.atlas.atlas_table import merge
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.models.model_shape import read_heads

    shape = read_heads(Path(snakemake.input.model).parent)
    atlas = merge(map(read_table, snakemake.input.verified), shape.heads)
    write_table(atlas, snakemake.output.atlas)
    for what, count in atlas_class(atlas).value_counts().items():
        log.info("%d heads: %s", count, what)


if __name__ == "__main__":
    run(main, snakemake)
