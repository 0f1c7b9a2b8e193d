"""Search pairs on which one head matters most, by one method from one seed."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.methods.search.search`; keep archive and trace."""
    from counterpoint.counterfactuals.methods.search import search
    from counterpoint.counterfactuals.methods.search_checkpoints import Checkpoints
    from counterpoint.counterfactuals.problem import Target
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.workflow.search_settings import settings_of, starts_of

    wildcards, wanted = snakemake.wildcards, snakemake.params.search
    settings = snakemake.params.settings
    starts = starts_of(wanted, read_table(snakemake.input.pairs))
    checkpoints = Checkpoints.beside(
        snakemake.output.archive, [snakemake.params.code, settings, wanted, list(map(str, starts))]
    )
    found = search(
        load(snakemake),
        wildcards.method,
        Target(int(wildcards.layer), int(wildcards.head)),
        starts,
        settings_of(wanted, wildcards.method, settings["memory_mb"]),
        seed=int(wildcards.seed),
        checkpoints=checkpoints,
    )
    write_table(found.archive, snakemake.output.archive)
    write_table(found.trace, snakemake.output.trace)
    checkpoints.remove()
    log.info("%d pairs in the archive", len(found.archive))
    if found.archive.empty:
        log.info("none, since %s", found.archive.attrs["reason"])


if __name__ == "__main__":
    run(main, snakemake)
