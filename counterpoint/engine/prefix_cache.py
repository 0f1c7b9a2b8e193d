"""Keys and values of the prefix that prompts share, and the cache in which a model is shown them.

Causal attention lets no earlier position see a later one, so that what a prefix leaves in the cache
is the same whatever follows it: it is run once for each pair and shown to every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from counterpoint.models.load import LanguageModel


@dataclass(frozen=True)
class PrefixKeysValues:
    """Keys and values of the prefix, one tensor per layer."""

    keys: list[Float[Tensor, "pair head prefix d_head"]]
    values: list[Float[Tensor, "pair head prefix d_head"]]

    @classmethod
    def of(cls, cache: Cache) -> PrefixKeysValues:
        """What a run left in ``cache``; no gradient leads back through it."""
        layers = cast("list[DynamicLayer]", cache.layers)
        return cls(
            [cast(Tensor, layer.keys).detach() for layer in layers],
            [cast(Tensor, layer.values).detach() for layer in layers],
        )

    @classmethod
    def joined(cls, parts: Sequence[PrefixKeysValues]) -> PrefixKeysValues:
        """Those of the pairs of all ``parts``, one part after another."""
        return cls(
            [torch.cat(layer) for layer in zip(*(part.keys for part in parts), strict=True)],
            [torch.cat(layer) for layer in zip(*(part.values for part in parts), strict=True)],
        )

    def up_to(self, stop: int, row: int) -> PrefixKeysValues:
        """Those of one row's first ``stop`` positions."""
        return PrefixKeysValues(
            [keys[row : row + 1, :, :stop] for keys in self.keys],
            [values[row : row + 1, :, :stop] for values in self.values],
        )

    def cache(self, pair: Int[Tensor, " row"] | None = None) -> Cache:
        """A Hugging Face cache that shows every row the prefix of its pair."""
        layers = (
            _PrefixLayer(key, value, pair)
            for key, value in zip(self.keys, self.values, strict=True)
        )
        return Cache(layers=list(layers))


class _PrefixLayer(DynamicLayer):
    """A cache layer that puts the prefix before what it is given, and keeps nothing."""

    def __init__(self, keys: Tensor, values: Tensor, pair: Tensor | None) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        # These names are what the cache is asked for when masks are sized.
        self.keys: Tensor = keys
        self.values: Tensor = values
        self.pair = pair

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self.keys.shape[-2] == 0:
            return key_states, value_states
        return self._joined(self.keys, key_states), self._joined(self.values, value_states)

    def _joined(self, prefix: Tensor, suffix: Tensor) -> Tensor:
        if len(prefix) == 1:
            prefix = prefix.expand(len(suffix), -1, -1, -1)
        elif self.pair is not None:
            prefix = prefix[self.pair]
        return torch.cat([prefix, suffix], dim=-2)


def cache_for(prefix: PrefixKeysValues | None, pair: Tensor | None = None) -> dict[str, Any]:
    """How a model is told of a prefix: by its cache, or, with none, that nothing is cached.

    Without a cache layers that carry a state (recurrent ones, convolutions) begin at its beginning.
    """
    if prefix is None:
        return {"use_cache": False}
    return {"use_cache": True, "past_key_values": prefix.cache(pair)}


@torch.no_grad()
def run_prefix(model: LanguageModel, tokens: Int[Tensor, "pair prefix"]) -> PrefixKeysValues | None:
    """Keys and values of a prefix that is run alone; None for an empty prefix.

    A cache of full layers is used even where the model has a sliding window: the window is then in
    the mask alone, and no early key is dropped.
    """
    if tokens.shape[1] == 0:
        return None
    cache = DynamicCache()
    model.hf(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return PrefixKeysValues.of(cache)
