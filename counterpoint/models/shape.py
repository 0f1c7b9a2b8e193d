"""How many layers, heads and positions a model has, read from its configuration alone."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only model.

    ``max_length`` is None where positions have no limit; ``vocabulary`` is the number of rows of
    the embedding, None where the configuration does not give it.
    """

    n_layers: int
    n_heads: int
    max_length: int | None
    vocabulary: int | None = None


def read_shape(folder: str | os.PathLike[str]) -> Shape:
    """The shape of the model in ``folder`` (`resources/models/{model}`); weights are not read."""
    from transformers import AutoConfig

    # The names are transformers' common ones, onto which it maps those of each architecture.
    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config(decoder=True)
    return Shape(
        n_layers=int(config.num_hidden_layers),
        n_heads=int(config.num_attention_heads),
        max_length=getattr(config, "max_position_embeddings", None),
        vocabulary=getattr(config, "vocab_size", None),
    )
