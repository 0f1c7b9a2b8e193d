"""Check and tokenise the pairs of a study."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.pairs.validate_pairs` with the model's tokenizer, and tell its doubts."""
    from counterpoint.beginning import describe
    from counterpoint.doubtful import doubtful_texts, lines
    from counterpoint.files import write_json, write_table
    from counterpoint.models.shape import read_shape
    from counterpoint.models.tokenizer import load_tokenizer
    from counterpoint.pairs import read_pairs, validate_pairs

    settings = snakemake.params.settings
    folder = Path(snakemake.input.model).parent
    tokenizer = load_tokenizer(folder)
    shape = read_shape(folder)
    pairs, dropped = validate_pairs(
        read_pairs(snakemake.params.pairs),
        tokenizer,
        prepend_bos=settings["prepend_bos"],
        max_length=shape.max_length,
        vocabulary=shape.vocabulary,
        max_pairs=settings["max_pairs"],
        on_bad_pair=settings["on_bad_pair"],
        source=snakemake.params.pairs,
    )
    write_table(pairs, snakemake.output.pairs)
    write_table(dropped, snakemake.output.dropped)
    write_json(describe(tokenizer, settings["prepend_bos"]), snakemake.output.beginning)
    doubts = doubtful_texts(pairs, tokenizer)
    write_table(doubts, snakemake.output.warnings)
    for line in lines(doubts, snakemake.params.pairs):
        log.warning("%s", line)
    log.info("%d good pairs, %d dropped", len(pairs), len(dropped))


if __name__ == "__main__":
    run(main, snakemake)
