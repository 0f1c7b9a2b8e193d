"""What the measurements of a study have in common, from the rule's settings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.measures.tables.shards import Measurement


def measurement(snakemake: Any) -> "Measurement":
    """The study's metric, directions and working memory."""
    from counterpoint.measures.tables.shards import Measurement

    settings = snakemake.params.settings
    return Measurement(
        metric=settings["metric"],
        directions=tuple(settings["directions"]),
        memory_mb=settings["memory_mb"],
    )


def chosen_pairs(snakemake: Any, first: int | str) -> list[int]:
    """Numbers of the pairs of the job's shard that are among the study's first so many, or all.

    Read without the model, which a job without any of them need not load: which pairs a shard has
    is known only when all are tokenised, so there is a job for each shard.
    """
    from counterpoint.measures.tables.shards import pair_numbers

    numbers = pair_numbers(snakemake.input.activations)
    return numbers if first == "all" else [number for number in numbers if number < int(first)]
