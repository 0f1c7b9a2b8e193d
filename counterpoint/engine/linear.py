"""Linear layers through oneDNN on a CPU: the same products in float32, often sooner.

PyTorch sends float32 matrix products on a CPU to MKL, which on some processors (AMD's with AVX-512
among them) uses half of the vector units. oneDNN, which PyTorch ships too, uses all of them:
on two cores of an EPYC 430 against 210 · 10⁹ operations per second for the products of SmolLM2's
MLP. On processors with AVX2 alone MKL uses what there is and is the faster one: searches take 9 to
17 % less time with it. Both round like any float32 product; no precision is given up. Only layers
are sent there whose result does not depend on which library computes it, that is plain linear maps
in float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.engine.replay import Forward, replaced_forward


@contextmanager
def through_onednn(modules: Iterable[nn.Module], *, packed: bool = False) -> Iterator[None]:
    """Let every linear layer among ``modules`` compute through oneDNN where that is sooner.

    Others, and every layer where oneDNN is not `preferred`, compute as they always do.

    With ``packed`` the layers' weights are kept a second time, in the order in which oneDNN's
    kernels read them, and need not be brought into it for every product: those of 24 rows, as in
    sampling, take a quarter to a third less time, those of hundreds about a twentieth. Inside the
    block, another for the same layers changes nothing.
    """
    with ExitStack() as replaced:
        if preferred():
            for module in modules:
                if _is_linear(module) and not _goes_there(module):
                    replaced.enter_context(
                        replaced_forward(module, partial(_linear_forward, module, packed))
                    )
        yield


def product(
    hidden: Float[Tensor, "*row inner"], weight: Float[Tensor, "outer inner"]
) -> Float[Tensor, "*row outer"]:
    """``hidden @ weight.T``, through oneDNN where that is sooner and no gradient is asked for."""
    differentiable = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    if preferred() and _plain(hidden) and _plain(weight) and not differentiable:
        return _product(hidden, weight, None)
    return hidden @ weight.T


def available() -> bool:
    """Whether PyTorch's build has oneDNN's linear layer and the processor can run it."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def preferred() -> bool:
    """Whether oneDNN is there and this processor is not one on which MKL is faster.

    Decided by the instruction set and not by timing, so that a machine always rounds alike.
    """
    return available() and torch.backends.cpu.get_cpu_capability() != "AVX2"


def _is_linear(module: nn.Module) -> bool:
    """An `nn.Linear` or GPT-2's `Conv1D` itself; a subclass may do more than a linear map."""
    weight = getattr(module, "weight", None)
    return (
        (type(module) is nn.Linear or type(module).__name__ == "Conv1D")
        and isinstance(weight, Tensor)
        and _plain(weight)
    )


def _plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def _goes_there(module: nn.Module) -> bool:
    return isinstance(vars(module).get("forward"), _ThroughOneDNN)


def _linear_forward(module: nn.Module, packed: bool, original: Forward) -> Forward:
    # Linear stores [out, in]; Conv1D stores [in, out], and a transposed view serves as well.
    stored = cast(Tensor, module.weight)
    weight = stored if type(module) is nn.Linear else stored.t()
    bias = cast("Tensor | None", module.bias)
    return _ThroughOneDNN(weight, _packed(weight) if packed else weight, bias)


@dataclass(frozen=True, eq=False)
class _ThroughOneDNN:
    """A layer's forward; ``ordered`` is its ``weight``, packed or not."""

    weight: Tensor
    ordered: Tensor
    bias: Tensor | None

    def __call__(self, hidden: Tensor) -> Tensor:
        if hidden.requires_grad and torch.is_grad_enabled():
            return _Linear.apply(hidden, self.weight, self.ordered, self.bias)
        return _product(hidden, self.ordered, self.bias)


def _product(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")


def _packed(weight: Tensor) -> Tensor:
    """``weight`` in the order of the kernels for products of many rows, which serves few as well.

    For one row oneDNN would leave the order as it is.
    """
    return cast(Tensor, torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 128))


class _Linear(torch.autograd.Function):
    """The same with a gradient for its input; the weights are constants here."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ordered: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.weight = weight
        # The product of three axes is a view of one of two, and no view made here may be changed in
        # place, as OLMo clips its queries; nothing else ever sees what this one is a view of.
        output = _product(hidden, ordered, bias)
        return cast(Tensor, torch.ops.aten._unsafe_view(output, output.shape))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _Back.apply(gradients[0], ctx.weight.t()), None, None, None


class _Back(torch.autograd.Function):
    """The way back, of which several at once (`torch.vmap`) are one product of more rows.

    Without this rule PyTorch would take the products one by one, and warn of it.
    """

    @staticmethod
    def forward(gradient: Tensor, weight: Tensor) -> Tensor:
        return _product(gradient, weight, None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """The weights are kept: the way back is linear too, and second derivatives go through it
        (`measures.second_order`)."""
        ctx.weight = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Back.apply(gradients[0], ctx.weight.t()), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None], gradient: Tensor, weight: Tensor
    ) -> tuple[Tensor, int]:
        batch, _ = in_dims
        assert batch is not None
        return _Back.apply(gradient.movedim(batch, 0), weight), 0
