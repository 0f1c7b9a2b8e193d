"""Search pairs on which one head matters most, by one method from one seed."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.search.search`; keep archive and trace."""
    from counterpoint.counterfactuals.configured import settings_of, starts_of
    from counterpoint.counterfactuals.problem import Target
    from counterpoint.counterfactuals.search import search
    from counterpoint.files import read_table, write_table

    wildcards, wanted = snakemake.wildcards, snakemake.params.search
    found = search(
        load(snakemake),
        wildcards.method,
        Target(int(wildcards.layer), int(wildcards.head)),
        starts_of(wanted, read_table(snakemake.input.pairs)),
        settings_of(wanted, wildcards.method, snakemake.params.settings["memory_mb"]),
        seed=int(wildcards.seed),
    )
    write_table(found.archive, snakemake.output.archive)
    write_table(found.trace, snakemake.output.trace)
    log.info("%d pairs in the archive", len(found.archive))
    if found.archive.empty:
        log.info("none, since %s", found.archive.attrs["reason"])


if __name__ == "__main__":
    run(main, snakemake)
