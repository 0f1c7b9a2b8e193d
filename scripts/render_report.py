"""Execute the report notebook and turn it into one HTML page."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.report.render_report` and say once more which pairs are doubtful."""
    from counterpoint.report.doubtful_pairs_section import doubts_of
    from counterpoint.report.render import render_report

    study, settings = snakemake.wildcards.study, snakemake.params.settings
    card = snakemake.params.card
    for line in doubts_of(Path(snakemake.output.html).parent, study, settings["metric"]):
        log.warning("%s", line)
    render_report(
        snakemake.input.notebook,
        {
            "study": study,
            # The notebook runs in a folder of its own.
            "folder": str(Path(snakemake.output.html).resolve().parent),
            "title": settings["report"]["title"] or study,
            "settings": settings,
            "tokenizer": str(Path(snakemake.input.model).resolve().with_name("tokenizer.json")),
            "card": card and str(Path(card).resolve()),
        },
        snakemake.output.notebook,
        snakemake.output.html,
        snakemake.input.views,
    )


if __name__ == "__main__":
    run(main, snakemake)
