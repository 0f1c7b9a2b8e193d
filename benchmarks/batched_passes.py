"""The strongest plain way: whole passes with a hook, batched over heads and nodes.

What a careful user writes with PyTorch and transformers alone: the prefix that both prompts begin
with is run once, and its keys and values are shown to every row of a batch; a row is one head at
one node of its path, and a hook at its layer's output projection puts the head's values there.
Every row runs all layers at all positions of the suffix, and the unembedding at the last one. Rows
are taken so many at a time as is quickest, with PyTorch's linear layers or oneDNN's, whichever is.

It shares no code with the engine but oneDNN's linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from benchmarks.machine import timed
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.linear import preferred, through_onednn
from counterpoint.models.load import LanguageModel

Array = np.ndarray

BATCH_SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Way:
    """How many rows a batch has, and whether oneDNN multiplies."""

    rows: int
    onednn: bool

    def __str__(self) -> str:
        return f"{self.rows} rows, {'oneDNN' if self.onednn else 'PyTorch'}"


def ways() -> list[Way]:
    """Everything that is tried for the quickest."""
    return [
        Way(rows, onednn) for onednn in (False, True)[: 1 + preferred()] for rows in BATCH_SIZES
    ]


class BatchedPasses:
    """The first pair's clean run, with heads at points between their values in both runs."""

    @torch.no_grad()
    def __init__(self, model: LanguageModel, pairs: TokenPairs) -> None:
        self.model = model
        self.start = pairs.first_difference
        self.suffix: Int[Tensor, "1 suffix"] = pairs.clean[:1, self.start :]
        self.answers = pairs.correct[0][0], pairs.incorrect[0][0]
        self.prefix: list[tuple[Tensor, Tensor]] = []
        if self.start:
            cache = DynamicCache()
            model.hf(input_ids=pairs.clean[:1, : self.start], past_key_values=cache, use_cache=True)
            self.prefix = [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[misc]
        self.clean = self._values(pairs.clean[:1, self.start :])
        self.corrupted = self._values(pairs.corrupted[:1, self.start :])

    def _cache(self, rows: int) -> DynamicCache | None:
        """The prefix's keys and values for every row of a batch."""
        if not self.prefix:
            return None
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.prefix):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        return cache

    def _logit_differences(self, tokens: Int[Tensor, "row suffix"]) -> Float[Tensor, " row"]:
        cache = self._cache(len(tokens))
        logits = self.model.hf(
            input_ids=tokens,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        ).logits[:, -1]
        correct, incorrect = self.answers
        return logits[:, correct] - logits[:, incorrect]

    def _values(self, tokens: Int[Tensor, "1 suffix"]) -> list[Float[Tensor, "suffix z"]]:
        """What each layer's output projection is given in the run of one prompt."""
        found: list[Tensor] = []
        with ExitStack() as hooks:
            for layer in range(self.model.n_layers):
                handle = self.model.output_projection(layer).register_forward_pre_hook(
                    lambda module, args: found.append(args[0][0].clone())
                )
                hooks.callback(handle.remove)
            self._logit_differences(tokens)
        return found

    @contextmanager
    def _patched(self, heads: Sequence[tuple[int, int]], alphas: Tensor) -> Iterator[None]:
        """Each row's head at its point of the path, inside the block."""
        count = self.model.n_heads

        def hook(layer: int, rows: list[int]) -> Any:
            head = torch.tensor([heads[row][1] for row in rows])
            clean, corrupted = (
                values[layer].unflatten(-1, (count, -1)).movedim(1, 0)[head]
                for values in (self.clean, self.corrupted)
            )
            moved = clean + alphas[rows].view(-1, 1, 1) * (corrupted - clean)

            def put(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                z = args[0].clone()
                z.unflatten(-1, (count, -1))[rows, :, head] = moved
                return (z, *args[1:])

            return put

        by_layer: dict[int, list[int]] = {}
        for row, (layer, _) in enumerate(heads):
            by_layer.setdefault(layer, []).append(row)
        with ExitStack() as hooks:
            for layer, rows in by_layer.items():
                projection = self.model.output_projection(layer)
                hooks.callback(projection.register_forward_pre_hook(hook(layer, rows)).remove)
            yield

    @torch.no_grad()
    def curves(self, heads: Sequence[tuple[int, int]], grid: Array, way: Way) -> Array:
        """f of each head, (layer, head), on ``grid``, in noising: [head, node]."""
        rows = [(head, float(alpha)) for head in heads for alpha in grid]
        found: list[Tensor] = []
        faster = through_onednn(self.model.hf.modules()) if way.onednn else nullcontext()
        with faster:
            for first in range(0, len(rows), way.rows):
                batch = rows[first : first + way.rows]
                alphas = torch.tensor([alpha for _, alpha in batch], dtype=self.model.dtype)
                with self._patched([head for head, _ in batch], alphas):
                    found.append(self._logit_differences(self.suffix.expand(len(batch), -1)))
        return torch.cat(found).double().numpy().reshape(len(heads), len(grid))

    def patching(self, heads: Sequence[tuple[int, int]], way: Way) -> Array:
        """AP of each head, in noising: [head]."""
        with torch.no_grad():
            start = float(self._logit_differences(self.suffix)[0])
        return self.curves(heads, np.ones(1), way)[:, 0] - start


def quickest(
    passes: BatchedPasses, heads: Sequence[tuple[int, int]], grid: Array
) -> dict[Way, float]:
    """Seconds a row of each way, tried on these heads and nodes; the quickest first."""
    count = len(heads) * len(grid)
    found = {}
    for way in ways():
        if way.rows > count:
            continue
        seconds, _ = timed(lambda way=way: passes.curves(heads, grid, way))
        found[way] = seconds / count
    return dict(sorted(found.items(), key=lambda item: item[1]))
