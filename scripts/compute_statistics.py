"""Compute correlations, claims, rank stability and variance components of a study."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `study_statistics` on the tables of heads, faithfulness and interactions, which are read
    some pairs at a time."""
    from counterpoint.files.artifacts import write_table
    from counterpoint.files.tables_of_pairs import TableOfPairs, blocks_of_pairs
    from counterpoint.statistics.resampling import Settings
    from counterpoint.statistics.sampled_pairs import ranked
    from counterpoint.statistics.study_statistics import Part, StudyPairs, study_statistics
    from counterpoint.statistics.templates import of_pairs, with_templates

    settings = Settings(**snakemake.params.settings["statistics"])
    heads, faithfulness, interaction = (
        TableOfPairs(snakemake.input[name]) for name in ("heads", "faithfulness", "interaction")
    )
    # Prompts and tokens are much of a large study.
    table = TableOfPairs(snakemake.input.pairs).columns(["pair", "template"])
    numbers = heads.pairs()
    rows = with_templates(heads.of_pairs(ranked(numbers, settings)), table)
    study = StudyPairs.of(numbers, rows, of_pairs(table, numbers), settings)
    log.info("%d pairs", len(numbers))
    blocks = blocks_of_pairs(numbers, heads.rows())
    parts = (
        Part(*(one.between(first, last) for one in (heads, faithfulness, interaction)))
        for first, last in blocks
    )
    for name, found in study_statistics(parts, study, settings).items():
        write_table(found, snakemake.output[name])


if __name__ == "__main__":
    run(main, snakemake)
