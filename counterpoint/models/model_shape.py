"""How many layers, heads and positions a model has, and where, without reading its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only model.

    ``max_length`` is None where positions have no limit; ``vocabulary`` is the number of rows of
    the embedding, None where the configuration does not give it.
    """

    n_layers: int
    n_heads: int
    max_length: int | None
    head_layers: tuple[int, ...] | None = None
    """The layers that have heads, lowest first; None where all are known to."""

    @property
    def heads(self) -> list[tuple[int, int]]:
        """Every (layer, head) that there is."""
        layers = range(self.n_layers) if self.head_layers is None else self.head_layers
        return [(layer, head) for layer in layers for head in range(self.n_heads)]

    vocabulary: int | None = None


def read_shape(folder: str | os.PathLike[str]) -> Shape:
    """The shape of the model in ``folder`` (`resources/models/{model}`); weights are not read."""
    from transformers import AutoConfig

    # The names are transformers' common ones, onto which it maps those of each architecture.
    whole = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config = whole.get_text_config(decoder=True)
    return Shape(
        n_layers=int(config.num_hidden_layers),
        n_heads=int(config.num_attention_heads),
        max_length=getattr(config, "max_position_embeddings", None),
        vocabulary=getattr(config, "vocab_size", None),
    )


def read_heads(folder: str | os.PathLike[str]) -> Shape:
    """`read_shape` with the layers that have heads: the model is built without its weights."""
    from counterpoint.models.folder_architecture import keep_names

    found = enumerate(keep_names(os.fspath(folder)).layers)
    layers = tuple(layer for layer, names in found if names.output_projection is not None)
    return replace(read_shape(folder), head_layers=layers)
