"""Compare the heads, claims and correlations of several studies."""

from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call the model-free comparison on the studies' tables."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.statistics.meta_analysis import claims_across, correlations_across
    from counterpoint.statistics.ranking_overlaps import overlaps
    from counterpoint.statistics.resampling import Settings
    from counterpoint.statistics.studies import Study, heads_across, studies_side_by_side
    from counterpoint.statistics.templates import with_templates

    described = snakemake.params.studies
    studies = [
        Study(
            name,
            title,
            model,
            metric,
            with_templates(read_table(heads), read_table(pairs)),
            read_table(baseline),
        )
        for (name, title, model, metric), pairs, heads, baseline in zip(
            described,
            snakemake.input.pairs,
            snakemake.input.heads,
            snakemake.input.baseline,
            strict=True,
        )
    ]
    claims, correlations = (
        {study.name: read_table(path) for study, path in zip(studies, paths, strict=True)}
        for paths in (snakemake.input.claims, snakemake.input.correlations)
    )
    settings = Settings(**snakemake.params.settings)
    log.info("%d studies", len(studies))
    tables = {
        "studies": studies_side_by_side(studies, settings=settings),
        "heads": heads_across(studies, settings=settings),
        "overlaps": overlaps(studies, settings=settings),
        "claims": claims_across(claims, confidence=settings.confidence),
        "correlations": correlations_across(correlations, confidence=settings.confidence),
    }
    for name, table in tables.items():
        write_table(table, snakemake.output[name])


if __name__ == "__main__":
    run(main, snakemake)
