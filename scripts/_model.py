"""Loading the model of a job, with the study's settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoint.models.load import LanguageModel


def load(snakemake: Any, at_least: str | None = None) -> "LanguageModel":
    """The model that the rule's input `model` stands for, on the study's device.

    ``at_least`` is a number format that replaces the study's where that has fewer bits.
    """
    import torch

    from counterpoint.models.load import DTYPES, load_language_model

    settings = snakemake.params.settings
    dtype = settings["dtype"]
    if at_least and torch.finfo(DTYPES[dtype]).bits < torch.finfo(DTYPES[at_least]).bits:
        dtype = at_least
    return load_language_model(
        Path(snakemake.input.model).parent,
        device=settings["device"],
        dtype=dtype,
        prepend_bos=settings["prepend_bos"],
        threads=snakemake.threads,
        # `prepare_pairs` has read it, and few jobs need words.
        tokenizer_later=True,
    )
