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
