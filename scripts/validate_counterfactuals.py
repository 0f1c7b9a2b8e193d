"""Validate the pairs that one method found for one head."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `pair_validation.validate` on a method's archive."""
    from counterpoint.counterfactuals.methods.search import study_prompts
    from counterpoint.counterfactuals.problem import Target
    from counterpoint.counterfactuals.validation.pair_validation import validate
    from counterpoint.counterfactuals.validation.validation_depth import Depth
    from counterpoint.files.artifacts import read_table, write_table

    settings, search = snakemake.params.settings, snakemake.params.search
    table = validate(
        # Ranks of close rivals need more digits than a search does.
        load(snakemake, at_least="float32"),
        Target(int(snakemake.wildcards.layer), int(snakemake.wildcards.head)),
        read_table(snakemake.input.archive),
        Depth(
            pairs=search["validated"],
            transferred=search["transferred"],
            transfers=search["transfers"],
            nulls=search["nulls"],
        ),
        prompts=study_prompts(read_table(snakemake.input.pairs)),
        memory_mb=settings["memory_mb"],
    )
    write_table(table, snakemake.output.validation)
    log.info("%d pairs, target first on %d", len(table), int((table["rank"] == 1).sum()))


if __name__ == "__main__":
    run(main, snakemake)
