"""The engine compared with the model's own passes: which way of evaluating rows is right for it.

For the first pair of each shape, and for each component that is measured:

- entered at every layer without a shift, the engine must give the logits of the model's own pass
  over the background's prompt;
- with one component of the first, the middle and the last layer at the other prompt's value, it
  must give the logits of a whole pass in which a hook puts that value in place.

Both are made in each way of `evaluation_rows.WAYS` until one holds. A model for which none does
needs something that re-entering at a layer does not give it, and is refused.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from counterpoint.engine.activations import (
    Component,
    Direction,
    background_prompt,
    other_prompt,
)
from counterpoint.engine.evaluation_rows import WAYS, Rows, Way
from counterpoint.engine.head_outputs import Units, differences, layers_with, packed
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.replay import by_row, first_of, hidden_states_of, with_first
from counterpoint.engine.rounding import COARSE_EPSILON, COARSEST_CHECK, computed_eps
from counterpoint.errors import UserError
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.load import LanguageModel

if TYPE_CHECKING:
    from counterpoint.engine.suffix import SuffixEngine

CHECK_TOLERANCE = 100.0
"""How far the engine may be from the model's own passes, in logits over their spread, in units of
the computed format's epsilon.

SmolLM2 leaves 12 in float32 and 1 in bfloat16, sixty tiny architectures with large random weights
at most 24 in float32; what this refuses misses by a thousand and more."""


_NAMES: dict[Component, str] = {
    "head": "head",
    "mlp": "MLP",
    "attention": "attention output",
    "residual": "residual stream",
}


def known_way(engine: SuffixEngine, component: Component, *, verify: bool) -> Way:
    """The way for the engine's shape, found once and kept on the model.

    Without ``verify`` a shape that was never compared is evaluated like the others of the model, in
    the most careful way that any of them needed.
    """
    kept = _ways(engine.model).setdefault(component, {})
    pairs = engine.activations.pairs
    shape = engine.activations.length, pairs.first_difference, engine.activations.start
    if component == "head" and engine.activations.head_way is not None:
        kept.setdefault(shape, WAYS[engine.activations.head_way])
    if shape not in kept:
        if kept and not verify:
            return max(kept.values(), key=WAYS.index)
        kept[shape] = find_way(engine, component)
    return kept[shape]


def cuts_last(model: LanguageModel) -> bool:
    """Whether the last block may compute its last position alone, by what was found so far."""
    return all(way.cuts_last for way in _ways(model).get("head", {}).values())


def _ways(model: LanguageModel) -> dict[Component, dict[tuple[int, int, int], Way]]:
    """The way of each component, by length, first differing position and first one kept."""
    return cast(
        "dict[Component, dict[tuple[int, int, int], Way]]",
        model.__dict__.setdefault("_ways", {}),
    )


@torch.no_grad()
def find_way(engine: SuffixEngine, component: Component) -> Way:
    """The first way in which the engine equals the model's own passes.

    Raises UserError, with what each way misses by, where there is none.
    """
    model = engine.model
    layers = layers_with(model, component)
    eps = computed_eps(model)
    tolerance = min(CHECK_TOLERANCE * eps, COARSEST_CHECK)
    what = _NAMES[component]
    architecture = type(model.hf).__name__
    if component == "residual" and not engine.activations.clean.residual.shape[-1]:
        raise UserError(
            f"model architecture {architecture}: its blocks carry several residual streams beside"
            " each other, so that the residual stream before a block is not one value. Leave out"
            " the residual stream: `components: [head, mlp, attention]`."
        )
    if not layers:
        raise UserError(f"model architecture {architecture}: no layer has a {what} to measure.")
    patched = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    with library_errors(model, f"patching a {what} in a whole pass"):
        expected = _expected(engine, component, layers, patched)
    # A logit of −∞ says that a token is forbidden; it is to be the same in both. A model may answer
    # with the same logit for every token: then with exactly that.
    forbidden = expected == -torch.inf
    spread = expected.amax(1) - expected.masked_fill(forbidden, torch.inf).amin(1)
    spread = spread.clamp_min(torch.finfo(expected.dtype).tiny)
    misses: list[str] = []
    for way in WAYS:
        try:
            with library_errors(model, "running its blocks one by one"):
                found = _found(engine, component, way, layers, patched)
        except UserError as refused:
            misses.append(str(refused))
            continue
        missed = (found - expected).masked_fill(forbidden & (found == expected), 0)
        error = float((missed.abs().amax(1) / spread).amax())
        # Whole passes are the model's own; see `COARSE_EPSILON`.
        if error <= tolerance or (not way.replays and eps > COARSE_EPSILON):
            return way
        _check_end(model, float(missed[0].abs().amax() / spread[0]), tolerance)
        misses.append(f"{error:.1e}")
    if misses[-1].startswith("model architecture"):
        raise UserError(misses[-1])
    raise UserError(
        f"model architecture {architecture}: re-entering at a layer's {what} changes the logits"
        f" by {misses[-1]} of their spread (at most {tolerance:.0e} is allowed), even in whole"
        " passes of the model: what it answers to a prompt depends on something besides that"
        f" prompt, such as what else is in the batch. {REMEDY}"
    )


def _check_end(model: LanguageModel, error: float, tolerance: float) -> None:
    """Raise UserError where logits are not made of the last block's output alone.

    ``error`` is by how much those of the first pair's clean prompt are off that are.
    """
    if error > tolerance:
        raise UserError(
            f"model architecture {type(model.hf).__name__}: its logits are not made of what its"
            f" last block gives alone: made of that, they are {error:.1e} of their spread off (at"
            f" most {tolerance:.0e} is allowed). What stands after the blocks reads what earlier"
            f" ones gave. {REMEDY}"
        )


def _found(
    engine: SuffixEngine,
    component: Component,
    way: Way,
    layers: list[int],
    patched: list[int],
) -> Float[Tensor, "row vocabulary"]:
    """The engine's logits: the background as it was kept, entered at every layer, and with a
    component of each layer in ``patched`` at the other prompt's value."""
    model, activations, direction = engine.model, engine.activations, _direction(engine)
    background = background_prompt(direction)
    zero = torch.zeros_like(activations.clean.attention[layers[0], :1])
    shifts = [(layer, zero) for layer in layers]
    for layer in patched:
        units = Units(
            torch.zeros(1, dtype=torch.long, device=zero.device),
            torch.full((1,), layer, device=zero.device),
            _head(engine, layer) if component == "head" else None,
        )
        shifts.append((layer, differences(model, activations, direction, units, component)))
    order = sorted(range(len(shifts)), key=lambda place: shifts[place][0])
    rows = Rows(
        torch.zeros(len(shifts), dtype=torch.long, device=zero.device),
        tuple(shifts[place][0] for place in order),
        torch.cat([shifts[place][1] for place in order]),
    )
    swept = engine.sweep(rows, background, component, way)
    final = swept[torch.argsort(torch.tensor(order, device=swept.device))]
    return engine.logits(torch.cat([activations.run(background).final[:1], final]))


def _direction(engine: SuffixEngine) -> Direction:
    """The direction that is compared: any, but of runs that are laid out for one alone."""
    return engine.activations.laid_out_for or "noising"


def _prompt(engine: SuffixEngine) -> Int[Tensor, "1 length"]:
    """The first pair's background."""
    tokens: Tensor = getattr(engine.activations.pairs, background_prompt(_direction(engine)))
    return tokens[:1]


def _head(engine: SuffixEngine, layer: int) -> Tensor:
    """The head that is patched in ``layer``: another one in each."""
    return torch.full((1,), layer % engine.model.n_heads, device=engine.model.device)


def _expected(
    engine: SuffixEngine, component: Component, layers: list[int], patched: list[int]
) -> Float[Tensor, "row vocabulary"]:
    """The same logits by the model's own passes. The prompt runs alone, so that a model whose
    answer depends on what else is in the batch is seen."""
    prompt = _prompt(engine)
    plain = engine.model.hf(input_ids=prompt, use_cache=False, logits_to_keep=1).logits[:, -1]
    ours = _patched(engine, component, patched)
    return torch.cat([plain.expand(1 + len(layers), -1), ours])


def _patched(
    engine: SuffixEngine, component: Component, layers: list[int]
) -> Float[Tensor, "row vocabulary"]:
    """Logits of whole passes of the first pair's background, each with the other prompt's value at
    the component of one of ``layers``: one row each."""
    model, activations = engine.model, engine.activations
    start, n_rows = activations.start, len(layers)
    other = activations.run(other_prompt(_direction(engine)))

    def put(value: Tensor, row: int, new: Tensor, width: slice) -> Tensor:
        shaped = by_row(value, n_rows).clone()
        shaped[row, start:, width] = new
        return shaped.view_as(value)

    def of_head(row: int, layer: int) -> Any:
        z = packed(model, layer, other.z[layer, 0])
        d_head = z.shape[-1] // model.n_heads
        head = int(_head(engine, layer))
        own = slice(head * d_head, (head + 1) * d_head)

        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            value, keyword = hidden_states_of(args, kwargs)
            new = put(value, row, z[:, own], own)
            if keyword is None:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, keyword: new}

        return hook

    def of_output(row: int, layer: int) -> Any:
        new = (other.mlp if component == "mlp" else other.attention)[layer, 0]

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            return with_first(output, put(first_of(output), row, new, slice(None)))

        return hook

    def of_residual(row: int, layer: int) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            value, keyword = hidden_states_of(args, kwargs)
            new = put(value, row, other.residual[layer, 0], slice(None))
            if keyword is None:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, keyword: new}

        return hook

    def patch(row: int, layer: int) -> RemovableHandle:
        match component:
            case "head":
                projection = model.output_projection(layer)
                return projection.register_forward_pre_hook(of_head(row, layer), with_kwargs=True)
            case "residual":
                block = model.blocks[layer]
                return block.register_forward_pre_hook(of_residual(row, layer), with_kwargs=True)
            case "mlp":
                return model.mlp(layer).register_forward_hook(of_output(row, layer))
            case "attention":
                projection = model.output_projection(layer)
                return projection.register_forward_hook(of_output(row, layer))

    with ExitStack() as hooks:
        for row, layer in enumerate(layers):
            hooks.callback(patch(row, layer).remove)
        tokens = _prompt(engine).expand(n_rows, -1)
        return model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
