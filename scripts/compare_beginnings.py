"""Compare a study's heads with and without the token at the beginning of each prompt."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.statistics.beginning_agreement.agreement`."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.statistics.beginning_agreement import agreement
    from counterpoint.statistics.resampling import Settings
    from counterpoint.statistics.templates import with_templates

    table = agreement(
        with_templates(read_table(snakemake.input.heads), read_table(snakemake.input.pairs)),
        read_table(snakemake.input.without),
        settings=Settings(**snakemake.params.settings["statistics"]),
    )
    write_table(table, snakemake.output.agreement)


if __name__ == "__main__":
    run(main, snakemake)
