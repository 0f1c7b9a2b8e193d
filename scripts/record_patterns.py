"""Record the attention patterns of the first pairs of a study."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.pattern_file.record_patterns`."""
    from counterpoint.files.artifacts import read_table, write_arrays
    from counterpoint.measures.pattern_arrays import file_arrays
    from counterpoint.measures.tables.pattern_file import record_patterns

    patterns = record_patterns(
        load(snakemake),
        read_table(snakemake.input.pairs),
        **snakemake.params.settings["patterns"],
    )
    write_arrays(file_arrays(patterns), snakemake.output[0])
    log.info("%d pairs", len(patterns))


if __name__ == "__main__":
    run(main, snakemake)
