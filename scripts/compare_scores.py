"""Compare the scores of a study with exact patching, and its two directions with each other."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `statistics.score_agreement` and `statistics.one_direction_heads`."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.statistics.one_direction_heads import one_direction_heads
    from counterpoint.statistics.resampling import Settings
    from counterpoint.statistics.score_agreement import score_agreement
    from counterpoint.statistics.templates import with_templates

    settings = Settings(**snakemake.params.settings["statistics"])
    heads = with_templates(read_table(snakemake.input.heads), read_table(snakemake.input.pairs))
    write_table(score_agreement(heads, settings=settings), snakemake.output.agreement)
    write_table(one_direction_heads(heads, settings=settings), snakemake.output.opposites)


if __name__ == "__main__":
    run(main, snakemake)
