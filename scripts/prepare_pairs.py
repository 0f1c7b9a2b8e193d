"""Check and tokenise the pairs of a study."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.pairs.validate_pairs` with the model's tokenizer."""
    from counterpoint.files import write_table
    from counterpoint.models.shape import read_shape
    from counterpoint.models.tokenizer import load_tokenizer
    from counterpoint.pairs import read_pairs, validate_pairs

    settings = snakemake.params.settings
    folder = Path(snakemake.input.model).parent
    shape = read_shape(folder)
    pairs, dropped = validate_pairs(
        read_pairs(snakemake.input.pairs),
        load_tokenizer(folder),
        prepend_bos=settings["prepend_bos"],
        max_length=shape.max_length,
        vocabulary=shape.vocabulary,
        max_pairs=settings["max_pairs"],
        on_bad_pair=settings["on_bad_pair"],
        source=snakemake.input.pairs,
    )
    write_table(pairs, snakemake.output.pairs)
    write_table(dropped, snakemake.output.dropped)
    log.info("%d good pairs, %d dropped", len(pairs), len(dropped))


if __name__ == "__main__":
    run(main, snakemake)
