"""Loading the model of a job, with the study's settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.models.load import LanguageModel


def load(snakemake: Any) -> "LanguageModel":
    """The model that the rule's input `model` stands for, on the study's device."""
    from counterpoint.models.load import load_language_model

    settings = snakemake.params.settings
    return load_language_model(
        Path(snakemake.input.model).parent,
        device=settings["device"],
        dtype=settings["dtype"],
        prepend_bos=settings["prepend_bos"],
        threads=snakemake.threads,
    )
