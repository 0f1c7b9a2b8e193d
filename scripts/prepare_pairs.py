"""Check and tokenise the pairs of a study."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `pair_checks.validate_pairs` with the model's tokenizer, and tell its doubts."""
    from counterpoint.files.artifacts import write_json, write_table
    from counterpoint.models.beginning_token import describe
    from counterpoint.models.model_shape import read_shape
    from counterpoint.models.tokenizers.tokenizer import load_tokenizer
    from counterpoint.pairs.doubtful_pairs import doubtful_texts, lines
    from counterpoint.pairs.pair_checks import validate_pairs
    from counterpoint.pairs.pair_files import read_pairs

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
        answer_tokens=settings["answer_tokens"],
        on_bad_pair=settings["on_bad_pair"],
        unequal_lengths=settings["unequal_lengths"],
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
