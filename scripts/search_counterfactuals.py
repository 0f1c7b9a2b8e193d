"""Search pairs on which one head matters most, by one method from one seed."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.search.search`; keep archive and trace."""
    from counterpoint.counterfactuals.checkpoints import Checkpoints
    from counterpoint.counterfactuals.configured import settings_of, starts_of
    from counterpoint.counterfactuals.problem import Target
    from counterpoint.counterfactuals.search import search
    from counterpoint.files import read_table, write_table

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
