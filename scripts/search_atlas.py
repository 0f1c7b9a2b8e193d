"""Search pairs for all heads of the model at once, from one seed."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `atlas_search.search_atlas`; keep candidates and trace."""
    from counterpoint.counterfactuals.atlas.atlas_search import search_atlas
    from counterpoint.counterfactuals.methods.method_settings import VariantSettings
    from counterpoint.counterfactuals.methods.search_checkpoints import Checkpoints
    from counterpoint.counterfactuals.problem import Budget, Settings
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.workflow.search_settings import starts_of

    settings, wanted = snakemake.params.settings, snakemake.params.search
    starts = starts_of(wanted, read_table(snakemake.input.pairs))
    checkpoints = Checkpoints.beside(
        snakemake.output.candidates,
        [snakemake.params.code, settings, wanted, list(map(str, starts))],
    )
    found = search_atlas(
        load(snakemake),
        starts,
        Settings(
            budget=Budget(**wanted["budget"]),
            answer_in_prompt=wanted["answer_in_prompt"],
            memory_mb=settings["memory_mb"],
            method=VariantSettings(**wanted["settings"]),
        ),
        seed=int(snakemake.wildcards.seed),
        way=snakemake.wildcards.way,
        checkpoints=checkpoints,
    )
    write_table(found.candidates(), snakemake.output.candidates)
    write_table(found.progress(), snakemake.output.trace)
    checkpoints.remove()
    log.info("%d heads first, %d of them well ahead", *found.heads_first())


if __name__ == "__main__":
    run(main, snakemake)
