"""Merge the searches of one head and method from all seeds."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.archive.merge`; put the traces under each other."""
    import pandas as pd

    from counterpoint.counterfactuals.archive import merge
    from counterpoint.files.artifacts import read_table, write_table

    seeds = snakemake.params.settings["seeds"]
    traces = [
        read_table(path).assign(seed=seed)
        for seed, path in zip(seeds, snakemake.input.traces, strict=True)
    ]
    write_table(merge(map(read_table, snakemake.input.archives)), snakemake.output.archive)
    write_table(pd.concat(traces, ignore_index=True), snakemake.output.trace)


if __name__ == "__main__":
    run(main, snakemake)
