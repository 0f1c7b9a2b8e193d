"""What a library raises while a model runs, in the words of a UserError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from counterpoint.errors import UserError
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.load import LanguageModel


@contextmanager
def library_errors(model: LanguageModel, step: str) -> Iterator[None]:
    """Turn what a library raises within the block into a UserError that names it.

    Lack of memory and errors that speak to the user are let through.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = (str(error) or repr(error)).strip().partition("\n")[0]
        raise UserError(
            f"model architecture {type(model.hf).__name__}: {step} failed:"
            f" {type(error).__name__}: {message[:300]}. The model's code does something that"
            f" Counterpoint does not expect, or needs a longer prompt. {REMEDY}"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory: a class of its own on accelerators, a text on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
