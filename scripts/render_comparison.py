"""Execute the notebook that compares studies and turn it into one HTML page."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.report.render_report` on the folder of the comparison."""
    from counterpoint.report.render import render_report

    render_report(
        snakemake.input.notebook,
        # The notebook runs in a folder of its own.
        {"folder": str(Path(snakemake.output.html).resolve().parent), "title": "Studies compared"},
        snakemake.output.notebook,
        snakemake.output.html,
        snakemake.input.views,
    )


if __name__ == "__main__":
    run(main, snakemake)
