"""Draw the figure that compares the methods of searching."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.figures.method_figures.draw_methods` and save the figure."""
    from counterpoint.figures.method_figures import draw_methods
    from counterpoint.figures.theme import save_figure
    from counterpoint.files.artifacts import read_table

    for name, figure in draw_methods(read_table(snakemake.input.summary)).items():
        save_figure(figure, Path(snakemake.output[0]).parent, name)


if __name__ == "__main__":
    run(main, snakemake)
