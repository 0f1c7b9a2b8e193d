"""RelP: AtP with propagation coefficients of layer-wise relevance propagation for gradients.

A head's score is the change of its output times the coefficient that relevance propagation gives
it in the background's run (Rezaei Jafari and others 2025, arXiv 2508.21258). The coefficient is the
gradient but for these rules, which are those of the authors' published code:

- LN-rule: in a norm the divisor is a constant. The mean that a layer norm takes off is not.
- Identity-rule: an activation function is its output over its input, a constant factor.
- Half-rule: where two branches are multiplied (the gate of an MLP), each gets half of the gradient.
- 0-rule: a linear map is its own coefficient, which is its gradient.

Whatever has no rule keeps its gradient: here the attention's softmax, soft-capping, and the metric.
The paper's table has a fifth rule, by which attention patterns are constants (AH-rule); the code
leaves it out by default, and so do we.

The rules are put where the model's own modules are, and the values of the run stay its own. What a
module is, is found by comparing: a norm must give what the formula of a norm gives, an MLP must
multiply as one with or without a gate does. A model of other parts (mixtures of experts, MLPs with
more inside) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from counterpoint.engine.activations import Direction, background_prompt
from counterpoint.engine.replay import Forward, first_of, hidden_states_of, replaced_forward
from counterpoint.engine.rounding import computed_eps
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.suffix_gradients import first_order_scores

Array = np.ndarray

ALIKE = 200.0
"""How far a module may be from the formula of its kind, over its largest value, in epsilons of the
computed format; that of another kind is off by order one."""


def relevance_scores(
    engine: SuffixEngine,
    direction: Direction,
    *,
    advance: Callable[[int], object] | None = None,
) -> Float[Array, "layer pair head"]:
    """RelP of every head's output. Not a number in layers without heads.

    Raises UserError, with the part, where the rules are not defined for the model.
    """
    model = engine.model
    pair = torch.arange(len(engine.activations.pairs), device=model.device)

    def scored(rows: slice) -> Tensor:
        with propagation_rules(engine):
            _, score = first_order_scores(engine, direction, pair[rows])
        return score

    _parts(engine, direction)
    found = engine.in_batches(len(pair), scored, differentiate=True, advance=advance)
    return found.transpose(0, 1).double().cpu().numpy()


@dataclass
class _Parts:
    """The modules of a model to which rules apply."""

    norms: dict[nn.Module, _Norm] = field(default_factory=dict)
    activations: list[nn.Module] = field(default_factory=list)
    gated: list[nn.Module] = field(default_factory=list)
    """Linear maps that are given a product of two branches."""


@dataclass(frozen=True)
class _Norm:
    """A norm's formula: what it multiplies the stream by, and whether it takes off the mean."""

    weight: Tensor | float
    centred: bool
    eps: float

    def scaled(self, hidden: Tensor) -> Tensor:
        """The norm of ``hidden`` without its bias; the divisor is a constant."""
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        stream = hidden.to(dtype)
        if self.centred:
            stream = stream - stream.mean(-1, keepdim=True)
        divisor = (stream.detach().pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        weight = self.weight.to(dtype) if isinstance(self.weight, Tensor) else self.weight
        return stream / divisor * weight


@contextmanager
def propagation_rules(engine: SuffixEngine) -> Iterator[None]:
    """Let the model's way back follow the rules inside the block; its values stay its own."""
    parts: _Parts = engine.model.__dict__["_relevance_parts"]

    def normed(norm: _Norm) -> Any:
        def make(original: Forward) -> Forward:
            def forward(hidden: Tensor) -> Tensor:
                value = original(hidden).detach()
                scaled = norm.scaled(hidden)
                return value + (scaled - scaled.detach()).to(value.dtype)

            return forward

        return make

    def activated(original: Forward) -> Forward:
        def forward(hidden: Tensor) -> Tensor:
            value = original(hidden).detach()
            given = hidden.detach()
            factor = torch.where(given == 0, 0.0, value / torch.where(given == 0, 1.0, given))
            return value + factor * (hidden - given)

        return forward

    def halved(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return ((args[0] + args[0].detach()) / 2, *args[1:])

    with ExitStack() as stack:
        for module, norm in parts.norms.items():
            stack.enter_context(replaced_forward(module, normed(norm)))
        for module in parts.activations:
            stack.enter_context(replaced_forward(module, activated))
        for module in parts.gated:
            stack.callback(module.register_forward_pre_hook(halved).remove)
        yield


@torch.no_grad()
def _parts(engine: SuffixEngine, direction: Direction) -> _Parts:
    """Where the rules apply, seen on one run of the background; kept on the model."""
    model = engine.model
    if "_relevance_parts" in model.__dict__:
        kept: _Parts = model.__dict__["_relevance_parts"]
        return kept
    parts, allowed = _Parts(), ALIKE * computed_eps(model)
    own = [model.mlp(layer) for layer in model.mlp_layers]
    of_mlp = {module: place for place, mlp in enumerate(own) for module in mlp.modules()}
    calls: list[list[_Call]] = [[] for _ in own]
    norms: list[_Call] = []
    outputs: dict[int, Tensor] = {}

    def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = _Call(module, hidden_states_of(args, kwargs)[0].clone(), first_of(output).clone())
        if _is_norm(module):
            norms.append(call)
        if module in of_mlp:
            calls[of_mlp[module]].append(call)

    def keep(place: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            outputs[place] = first_of(output).clone()

        return hook

    first = torch.zeros(1, dtype=torch.long, device=model.device)
    with ExitStack() as hooks:
        for module in model.hf.modules():
            if not list(module.children()) and not isinstance(module, nn.Embedding):
                hooks.callback(module.register_forward_hook(record, with_kwargs=True).remove)
        for place, mlp in enumerate(own):
            hooks.callback(mlp.register_forward_hook(keep(place)).remove)
        engine.run_suffix(engine.activations.tokens(background_prompt(direction))[first], first)
    kind = type(model.hf).__name__
    for call in norms:
        parts.norms[call.module] = _norm_of(call, allowed, kind)
    for place, (mlp, of_this) in enumerate(zip(own, calls, strict=True)):
        activation, gated = _mlp_parts(of_this, outputs[place], allowed)
        if activation is None:
            raise UserError(
                f"model architecture {kind}: RelP's rules are not defined for its MLP"
                f" {type(mlp).__name__}, which is neither two linear maps with an activation"
                " function between them nor such with a gate. Leave relp out of baselines."
            )
        parts.activations.append(activation)
        if gated is not None:
            parts.gated.append(gated)
    model.__dict__["_relevance_parts"] = parts
    return parts


@dataclass(frozen=True, eq=False)
class _Call:
    module: nn.Module
    given: Tensor
    answer: Tensor


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _alike(one: Tensor, other: Tensor, allowed: float) -> bool:
    if one.shape != other.shape:
        return False
    size = other.abs().amax().clamp_min(torch.finfo(other.dtype).tiny)
    return float((one - other).abs().amax() / size) <= allowed


def _norm_of(call: _Call, allowed: float, kind: str) -> _Norm:
    """The formula that gives what a norm gave."""
    weight, bias = getattr(call.module, "weight", None), getattr(call.module, "bias", None)
    eps = next(
        (
            float(getattr(call.module, name))
            for name in ("eps", "variance_epsilon", "epsilon")
            if isinstance(getattr(call.module, name, None), float)
        ),
        None,
    )
    weights = [1.0] if weight is None else [weight.detach(), 1.0 + weight.detach()]
    expected = call.answer if bias is None else call.answer - bias
    for centred in (False, True):
        for each in weights if eps is not None else []:
            assert eps is not None
            norm = _Norm(each, centred, eps)
            if _alike(norm.scaled(call.given).to(expected.dtype), expected, allowed):
                return norm
    raise UserError(
        f"model architecture {kind}: its {type(call.module).__name__} is neither a layer norm nor a"
        " root-mean-square norm, so that RelP's rule for norms is not defined. Leave relp out of"
        " baselines."
    )


def _mlp_parts(
    calls: list[_Call], output: Tensor, allowed: float
) -> tuple[nn.Module | None, nn.Module | None]:
    """The activation function of an MLP, and its last linear map where that is given a product.

    None for what is no such MLP.
    """
    linear = [call for call in calls if _is_linear(call.module)]
    others = [
        call
        for call in calls
        if not _is_linear(call.module) and not isinstance(call.module, nn.Identity | nn.Dropout)
    ]
    if len(linear) < 2 or len(others) != 1 or list(others[0].module.parameters()):
        return None, None
    (activation,), last = others, linear[-1]
    given, answer = last.given, activation.answer
    if not _alike(last.answer.reshape(output.shape), output, allowed):
        return None, None
    if len(linear) == 2 and _alike(answer, given, allowed):
        return activation.module, None
    branches = [half for call in linear[:-1] for half in (call.answer, *call.answer.chunk(2, -1))]
    if any(
        half.shape == answer.shape and _alike(answer * half, given, allowed) for half in branches
    ):
        return activation.module, last.module
    return None, None
