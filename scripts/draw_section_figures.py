"""Draw the figures that the sections of a study's report ask for."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Save each of `counterpoint.report.section_figures` as SVG and PNG, and list them."""
    import pandas as pd

    from counterpoint.figures.theme import save_figure
    from counterpoint.files.artifacts import write_table
    from counterpoint.report.section_figures import section_figures
    from counterpoint.report.section_parts import OF_OWN_RULES
    from counterpoint.report.study_results import load_results

    folder = Path(snakemake.output.figures)
    results = load_results(
        snakemake.wildcards.study,
        folder.parents[1],
        snakemake.params.settings,
        Path(snakemake.input.model).with_name("tokenizer.json"),
    )
    drawn = {
        name: one for name, one in section_figures(results).items() if name not in OF_OWN_RULES
    }
    for name, one in drawn.items():
        save_figure(one.draw(), folder, name)
    shown = pd.DataFrame(
        {"figure": list(drawn), "shows": [one.title for one in drawn.values()]}, dtype=object
    )
    write_table(shown, folder / "figures.csv")


if __name__ == "__main__":
    run(main, snakemake)
