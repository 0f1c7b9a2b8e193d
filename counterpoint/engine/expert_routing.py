"""Which experts a mixture of experts chose: recorded while rows are evaluated.

A router scores the experts of each token and the best k are run. Where two scores cross on the way
from α = 0 to 1 another expert is run, and the output curve jumps. No model is asked for the names
of its routers: whatever takes the *indices* of the largest scores (`topk`, and `argmax` or `max` of
a table of tokens and scores) while the blocks run is such a choice. For each row, and each place
where it chooses, two numbers are kept: one that stands for the set of what was chosen, and the
*margin*, the least chosen score less the best that was left. The margin says how near a change is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from counterpoint.models.load import LanguageModel

_TOP = {torch.topk, torch.Tensor.topk}
_LARGEST = {torch.argmax, torch.Tensor.argmax, torch.max, torch.Tensor.max}

_PROBE_LENGTH = 4


@dataclass(frozen=True, eq=False)
class Choices:
    """What every row of one evaluation chose. A place is a layer, a call in it and a position."""

    chosen: Int[Tensor, "row place"]
    """Equal numbers stand for equal sets; 0 where the row does not pass the place."""
    margin: Float[Tensor, "row place"]
    """Never negative; infinite where the row does not pass the place or nothing was left."""


def choices_per_block(model: LanguageModel) -> int:
    """How often a block chooses, at most: 0 for a dense model, whose curves cannot jump so.

    One short run finds it, and it is kept on the model.
    """
    kept = cast("dict[str, int]", model.__dict__.setdefault("_choices", {}))
    if "count" not in kept:
        with torch.no_grad(), _recording(model, _PROBE_LENGTH) as recorder:
            model.hf(
                input_ids=torch.zeros(1, _PROBE_LENGTH, dtype=torch.long, device=model.device),
                use_cache=False,
            )
        kept["count"] = max((call + 1 for _, call in recorder.found), default=0)
    return kept["count"]


def recorded(
    model: LanguageModel, n_rows: int, positions: int, evaluate: Callable[[], Tensor]
) -> tuple[Tensor, Choices]:
    """``evaluate()`` of ``n_rows`` rows of ``positions`` positions, and what they chose.

    Rows that a block runs on must be the first ones of all, as the engine's are.
    """
    with _recording(model, positions) as recorder:
        output = evaluate()
    return output, recorder.choices(model.n_layers, choices_per_block(model), n_rows)


@contextmanager
def _recording(model: LanguageModel, positions: int) -> Iterator[_Recorder]:
    blocks: list[nn.Module] = model.blocks
    recorder = _Recorder(positions, len(blocks) - 1, model.device)
    with ExitStack() as hooks:
        for layer, block in enumerate(blocks):
            handle = block.register_forward_pre_hook(
                lambda module, args, kwargs, layer=layer: recorder.enter(layer, args, kwargs),
                with_kwargs=True,
            )
            hooks.callback(handle.remove)
        hooks.enter_context(recorder)
        yield recorder


class _Recorder(TorchFunctionMode):
    """Sees every call of torch; keeps those that choose."""

    def __init__(self, positions: int, last_layer: int, device: torch.device) -> None:
        super().__init__()
        self.positions, self.last_layer, self.device = positions, last_layer, device
        self.found: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._layer, self._rows, self._calls = -1, 0, 0

    def enter(self, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        self._layer, self._rows, self._calls = layer, len(hidden), 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if self._layer >= 0 and (func in _TOP or func in _LARGEST):
            scores = args[0] if args else (kwargs or {}).get("input")
            indices = output if isinstance(output, Tensor) else getattr(output, "indices", None)
            if func in _LARGEST and (not isinstance(scores, Tensor) or scores.ndim != 2):
                # Attention takes the largest of its scores too, of its four axes.
                indices = None
            if isinstance(indices, Tensor) and isinstance(scores, Tensor):
                self._keep(scores.detach(), indices)
                # Also of what is left out, which may be rows and positions in another batch: a
                # call has one number whatever the shapes are.
                self._calls += 1
        return output

    def _keep(self, scores: Tensor, indices: Tensor) -> None:
        if indices.is_floating_point() or scores.ndim < 2:
            return
        if indices.ndim == scores.ndim - 1:
            indices = indices.unsqueeze(-1)
        if indices.shape[:-1] != scores.shape[:-1]:
            return
        shape = self._rows_and_positions(scores.shape[:-1])
        if shape is None:
            return
        k, n = indices.shape[-1], scores.shape[-1]
        chosen = _mixed(indices).sum(-1).reshape(shape)
        best = scores.topk(min(k + 1, n), dim=-1).values.float()
        if n > k:
            margin = (best[..., k - 1] - best[..., k]).nan_to_num(nan=torch.inf)
        else:
            margin = torch.full(indices.shape[:-1], torch.inf, device=scores.device)
        self.found[self._layer, self._calls] = (chosen, margin.reshape(shape))

    def _rows_and_positions(self, shape: torch.Size) -> tuple[int, int] | None:
        """How choices of this ``shape`` are rows and positions; None where they are neither.

        The last block's MLP runs on the last position alone. Choices within groups of experts, of
        which only values are taken on, are no rows and positions, and are left out.
        """
        if len(shape) == 2:
            rows, positions = shape
        elif len(shape) > 2:
            return None
        elif self._layer == self.last_layer and shape[0] <= self._rows:
            rows, positions = shape[0], 1
        else:
            rows, rest = divmod(shape[0], self.positions)
            positions = 0 if rest else self.positions
        return (
            (rows, positions) if rows <= self._rows and positions in (1, self.positions) else None
        )

    def choices(self, n_layers: int, calls: int, n_rows: int) -> Choices:
        # Rows that all enter behind the last router pass none.
        shape = (n_rows, n_layers, calls, self.positions)
        chosen = torch.zeros(shape, dtype=torch.int64, device=self.device)
        margin = torch.full(shape, torch.inf, device=self.device)
        for (layer, call), (choice, distance) in self.found.items():
            if call < calls:
                rows, positions = choice.shape
                chosen[:rows, layer, call, -positions:] = choice
                margin[:rows, layer, call, -positions:] = distance
        return Choices(chosen.flatten(1), margin.flatten(1))


def _mixed(indices: Tensor) -> Tensor:
    """A number for each index, such that sums of few of them hardly ever agree (splitmix64)."""
    mixed = (indices + 1) * -7046029254386353131
    mixed = (mixed ^ ((mixed >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    mixed = (mixed ^ ((mixed >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)
