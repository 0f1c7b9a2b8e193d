"""Compute correlations, claims, rank stability and variance components of a study."""

from functools import partial
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call the model-free statistics on the tables of heads, faithfulness and interactions."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.statistics.claims import claims
    from counterpoint.statistics.correlations import correlations
    from counterpoint.statistics.resampling import Settings
    from counterpoint.statistics.sample_sizes import sample_sizes
    from counterpoint.statistics.stability import stability
    from counterpoint.statistics.templates import with_templates
    from counterpoint.statistics.variance_components import variance_components

    settings = Settings(**snakemake.params.settings["statistics"])
    heads = with_templates(read_table(snakemake.input.heads), read_table(snakemake.input.pairs))
    faithfulness, interaction = (
        read_table(snakemake.input[name]) for name in ("faithfulness", "interaction")
    )
    for name, compute in (
        ("correlations", correlations),
        ("claims", partial(claims, faithfulness=faithfulness, interaction=interaction)),
        ("stability", stability),
        ("sample_sizes", sample_sizes),
        ("variance", variance_components),
    ):
        log.info(name)
        write_table(compute(heads, settings=settings), snakemake.output[name])


if __name__ == "__main__":
    run(main, snakemake)
