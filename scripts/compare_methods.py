"""Put the searches for all heads under each other and compare the methods."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `method_comparison.summarise` on the runs of all heads."""
    import pandas as pd

    from counterpoint.counterfactuals.comparison.method_comparison import summarise
    from counterpoint.files.artifacts import read_table, write_json, write_table

    runs = pd.concat(map(read_table, snakemake.input.measured), ignore_index=True)
    write_table(runs, snakemake.output.runs)
    write_table(summarise(runs), snakemake.output.summary)
    write_json(snakemake.params.settings, snakemake.output.settings)
    log.info("%d searches", len(runs))


if __name__ == "__main__":
    run(main, snakemake)
