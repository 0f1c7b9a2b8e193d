"""Draw the map of the atlas."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.generated_figures.atlas_map` and save it as SVG and PNG."""
    from counterpoint.files import read_table
    from counterpoint.generated_figures import atlas_map
    from counterpoint.plots import save_figure

    figure = atlas_map(read_table(snakemake.input.atlas))
    save_figure(figure, Path(snakemake.output.svg).parent, "atlas")


if __name__ == "__main__":
    run(main, snakemake)
