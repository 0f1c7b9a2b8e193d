"""Search pairs on which one head matters most, by one method from one seed."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.search.search`; keep archive and trace."""
    from counterpoint.counterfactuals.problem import Budget, Settings, Target
    from counterpoint.counterfactuals.search import search
    from counterpoint.files import read_table, write_table

    wildcards, wanted = snakemake.wildcards, snakemake.params.search
    pairs = read_table(snakemake.input.pairs)
    found = search(
        load(snakemake),
        wildcards.method,
        Target(int(wildcards.layer), int(wildcards.head)),
        wanted["start"] or pairs.sort_values("pair")["clean"].iloc[0],
        Settings(
            budget=Budget(**wanted["budget"]), memory_mb=snakemake.params.settings["memory_mb"]
        ),
        seed=int(wildcards.seed),
    )
    write_table(found.archive, snakemake.output.archive)
    write_table(found.trace, snakemake.output.trace)
    log.info("%d pairs in the archive", len(found.archive))


if __name__ == "__main__":
    run(main, snakemake)
