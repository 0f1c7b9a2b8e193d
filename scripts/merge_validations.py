"""Put what the pairs of all methods are worth, for one head, into one table."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.validation.joined_validations.joined`."""
    from counterpoint.counterfactuals.validation.joined_validations import joined
    from counterpoint.files.artifacts import read_table, write_table

    table = joined(map(read_table, snakemake.input.validations))
    write_table(table, snakemake.output.validation)
    log.info("%d pairs, target first on %d", len(table), int((table["rank"] == 1).sum()))


if __name__ == "__main__":
    run(main, snakemake)
