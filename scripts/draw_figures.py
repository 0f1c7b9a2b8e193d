"""Draw the figures of a study."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `study_figures.draw_figures` and save each figure as SVG and PNG."""
    from counterpoint.figures.curve_figures import read_curves
    from counterpoint.figures.study_figures import draw_figures
    from counterpoint.figures.theme import save_figure
    from counterpoint.files.artifacts import read_table
    from counterpoint.glossary.metric_words import measured_metric
    from counterpoint.statistics.templates import with_templates

    settings = snakemake.params.settings
    statistics, report = settings["statistics"], settings["report"]
    figures = draw_figures(
        with_templates(read_table(snakemake.input.heads), read_table(snakemake.input.pairs)),
        read_table(snakemake.input.baseline),
        read_curves(snakemake.input.curves, settings["directions"]),
        read_table(snakemake.input.correlations),
        read_table(snakemake.input.stability),
        floor=statistics["floor"],
        confidence=statistics["confidence"],
        seed=statistics["seed"],
        heads_shown=report["heads_shown"],
        configured=[(layer, head) for layer, head in report["heads"]],
        top_k=statistics["top_k"],
        metric=measured_metric(settings["metric"], settings["answer_tokens"]),
        resample=statistics["resample"],
    )
    for name, figure in figures.items():
        save_figure(figure, Path(snakemake.output[0]).parent, name)


if __name__ == "__main__":
    run(main, snakemake)
