"""Draw the figures that compare studies."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.figures.comparison_figures.draw_comparison` and save each figure."""
    from counterpoint.figures.comparison_figures import draw_comparison
    from counterpoint.figures.theme import save_figure
    from counterpoint.files.artifacts import read_table

    claims, correlations = (
        {name: read_table(path) for name, path in zip(snakemake.params.studies, paths, strict=True)}
        for paths in (snakemake.input.claims_of, snakemake.input.correlations_of)
    )
    figures = draw_comparison(
        read_table(snakemake.input.heads),
        read_table(snakemake.input.overlaps),
        claims,
        read_table(snakemake.input.claims),
        correlations,
        read_table(snakemake.input.correlations),
    )
    for name, figure in figures.items():
        save_figure(figure, Path(snakemake.output[0]).parent, name)


if __name__ == "__main__":
    run(main, snakemake)
