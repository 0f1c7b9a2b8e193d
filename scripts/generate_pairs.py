"""Make a pair set for a model's tokenizer."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.pairs.sets.pair_sets.regenerate` with the model's tokenizer."""
    from counterpoint.models.tokenizers.tokenizer import load_tokenizer
    from counterpoint.pairs.sets.pair_sets import regenerate

    regenerate(
        snakemake.wildcards.pair_set,
        load_tokenizer(Path(snakemake.input.model).parent),
        snakemake.output[0],
        snakemake.input.settings,
    )


if __name__ == "__main__":
    run(main, snakemake)
