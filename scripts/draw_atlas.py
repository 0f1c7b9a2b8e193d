"""Draw the map of the atlas."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.figures.atlas_figures.atlas_map` and save it as SVG and PNG."""
    from counterpoint.figures.atlas_figures import atlas_map
    from counterpoint.figures.theme import save_figure
    from counterpoint.files.artifacts import read_table

    figure = atlas_map(read_table(snakemake.input.atlas))
    save_figure(figure, Path(snakemake.output.svg).parent, "atlas")


if __name__ == "__main__":
    run(main, snakemake)
