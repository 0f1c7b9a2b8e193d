"""Take the token off the beginning of each prompt, to measure the same pairs without it."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.models.beginning_token.without_beginning`."""
    import json
    from pathlib import Path

    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.models.beginning_token import without_beginning

    beginning = json.loads(Path(snakemake.input.beginning).read_text(encoding="utf-8"))
    pairs = read_table(snakemake.input.pairs)
    shorter = without_beginning(pairs, beginning, snakemake.params.settings["model"])
    write_table(shorter, snakemake.output.pairs)


if __name__ == "__main__":
    run(main, snakemake)
