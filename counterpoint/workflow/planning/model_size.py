"""The sizes of a model that decide what measuring it takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterpoint.models.weight_files import BYTES, count_parameters

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Size:
    """Sizes of a decoder-only model.

    ``width`` is that of the residual stream, ``head_values`` that of all heads' outputs z together,
    ``keys_values`` that of a layer's keys (and of its values); ``parameters`` are all of the
    model's, ``embedding`` those of them that only turn tokens into vectors and back.
    """

    n_layers: int
    n_heads: int
    width: int
    head_values: int
    keys_values: int
    parameters: int
    embedding: int
    dtype: str = "float32"

    @property
    def heads(self) -> int:
        """All attention heads."""
        return self.n_layers * self.n_heads

    @property
    def bytes_per_number(self) -> int:
        return BYTES[self.dtype]

    @property
    def weights_mb(self) -> float:
        return self.parameters * self.bytes_per_number / 2**20

    @property
    def operations(self) -> float:
        """Floating-point operations of all blocks at one position: a multiplication and an addition
        for each of their parameters (Kaplan et al. 2020, "Scaling Laws for Neural Language Models",
        which also neglects the attention's products of few positions)."""
        return 2.0 * (self.parameters - self.embedding)


def read_size(folder: str | os.PathLike[str], dtype: str = "float32") -> Size:
    """The size of the model in ``folder`` (`resources/models/{model}`); no weights are read.

    Raises FileNotFoundError where there is no model.
    """
    from transformers import AutoConfig

    whole = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return of_configuration(whole, count_parameters(folder), dtype)


def of_configuration(whole: PretrainedConfig, parameters: int, dtype: str = "float32") -> Size:
    """The size that a configuration of transformers describes, given how many parameters it has."""
    config = whole.get_text_config(decoder=True)
    heads, width = int(config.num_attention_heads), int(config.hidden_size)
    head = int(getattr(config, "head_dim", None) or width // heads)
    keys = int(getattr(config, "num_key_value_heads", None) or heads)
    tied = bool(getattr(config, "tie_word_embeddings", False))
    return Size(
        n_layers=int(config.num_hidden_layers),
        n_heads=heads,
        width=width,
        head_values=heads * head,
        keys_values=keys * head,
        parameters=parameters,
        embedding=int(config.vocab_size) * width * (1 if tied else 2),
        dtype=dtype,
    )
