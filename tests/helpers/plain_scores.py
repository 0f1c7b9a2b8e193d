"""Scores of heads by plain autograd on whole passes: what the baseline scores must equal.

Every head's values are moved by hooks on passes of the Hugging Face model over whole prompts,
without a cache; nothing of the engine is used. Norms, activations and gates of the four
architectures are written out by hand where a rule changes their way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.engine.activations import Component, Direction, TokenPairs
from counterpoint.models.load import LanguageModel
from tests.helpers.whole_passes import changed, logits, values_of


def sides(pairs: TokenPairs, direction: Direction) -> tuple[Tensor, Tensor]:
    """The tokens of the background and of the other prompt."""
    if direction == "noising":
        return pairs.clean, pairs.corrupted
    return pairs.corrupted, pairs.clean


def difference(model: LanguageModel, pairs: TokenPairs, tokens: Tensor, pair: int) -> Tensor:
    """The logit difference of one pair's run."""
    (correct,), (incorrect,) = pairs.correct[pair], pairs.incorrect[pair]
    found = logits(model, tokens[pair : pair + 1])[0]
    return found[correct] - found[incorrect]


Layers = Sequence[int] | None
"""The layers whose heads are scored, the others staying 0; None for all."""


Ends = dict[int, tuple[Tensor, Tensor]]
"""By layer what its heads give in the background and in the other prompt's run."""


def ends_of(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, layers: Layers = None
) -> Ends:
    chosen = list(layers or range(model.n_layers))
    places: list[tuple[nn.Module, Component]] = [
        (model.output_projection(layer), "head") for layer in chosen
    ]
    found = [values_of(model, places, tokens) for tokens in sides(pairs, direction)]
    return dict(zip(chosen, zip(*found, strict=True), strict=True))


def series(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    layers: Layers = None,
    heads: Sequence[int] | None = None,
) -> np.ndarray:
    """g(0) and g'(0) of every head, or of ``heads`` alone: [layer, pair, head, 2]."""
    background, _ = sides(pairs, direction)
    found = np.zeros((model.n_layers, len(pairs), model.n_heads, 2))
    for layer, (start, end) in ends_of(model, pairs, direction, layers).items():
        module = model.output_projection(layer)
        width = start.shape[-1] // model.n_heads
        for pair in range(len(pairs)):
            for head in heads or range(model.n_heads):
                own = torch.zeros(start.shape[-1], dtype=start.dtype)
                own[head * width : (head + 1) * width] = 1

                whole = own * (end - start)[pair]
                alpha = torch.zeros((), dtype=start.dtype, requires_grad=True)
                with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                    with changed(module, "head", lambda value, add=alpha * whole: value + add):
                        metric = difference(model, pairs, background, pair)
                    (slope,) = torch.autograd.grad(metric, alpha, create_graph=True)
                    (bend,) = torch.autograd.grad(slope, alpha)
                found[layer, pair, head] = slope.item(), bend.item()
    return found


def gradient_times_change(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    inside: Callable[[int], Any] = lambda pair: nullcontext(),
    layers: Layers = None,
    ends: Ends | None = None,
) -> np.ndarray:
    """The change of each head's values (``ends``, where they were taken before) times their
    gradient in a pass made within ``inside``."""
    background, _ = sides(pairs, direction)
    found = np.zeros((model.n_layers, len(pairs), model.n_heads))
    for layer, (start, end) in (ends or ends_of(model, pairs, direction, layers)).items():
        module = model.output_projection(layer)
        for pair in range(len(pairs)):
            shift = torch.zeros_like(start[pair], requires_grad=True)
            with inside(pair), changed(module, "head", lambda value, add=shift: value + add):
                metric = difference(model, pairs, background, pair)
            # Nothing may depend on the shift at all, in a layer whose way back is cut.
            (gradient,) = torch.autograd.grad(metric + 0 * shift.sum(), shift)
            terms = gradient * (end - start)[pair]
            found[layer, pair] = terms.unflatten(-1, (model.n_heads, -1)).sum((0, 2)).numpy()
    return found


def input_path(
    model: LanguageModel,
    pairs: TokenPairs,
    direction: Direction,
    steps: int,
    layers: Layers = None,
) -> np.ndarray:
    """EAP-IG of every head: the mean over k = 1 … steps, k/steps of the background's embeddings."""
    background, other = sides(pairs, direction)
    embedding = model.hf.get_input_embeddings()
    plain = embedding.forward
    ends = ends_of(model, pairs, direction, layers)
    total = np.zeros((model.n_layers, len(pairs), model.n_heads))
    for k in range(1, steps + 1):

        @contextmanager
        def moved(pair: int, share: float = k / steps) -> Iterator[None]:
            here, there = (plain(each[pair : pair + 1]) for each in (background, other))
            between = share * here + (1 - share) * there
            handle = embedding.register_forward_hook(lambda m, args, out: between)
            try:
                yield
            finally:
                handle.remove()

        total += gradient_times_change(model, pairs, direction, moved, layers, ends)
    return total / steps


def gradient_dropout(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, layers: Layers = None
) -> np.ndarray:
    """Σ over dropped layers of |AtP| / (layers − 1); a dropped block's sum is h + constant."""
    ends = ends_of(model, pairs, direction, layers)
    total = np.zeros((model.n_layers, len(pairs), model.n_heads))
    for dropped in range(model.n_layers):

        @contextmanager
        def inside(pair: int, block: nn.Module = model.blocks[dropped]) -> Iterator[None]:
            original = block.forward

            def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
                output = original(hidden, *args, **kwargs)
                value = output[0] if isinstance(output, tuple) else output
                value = hidden + (value - hidden).detach()
                return (value, *output[1:]) if isinstance(output, tuple) else value

            block.forward = forward  # type: ignore[method-assign]
            try:
                yield
            finally:
                del block.forward

        total += np.abs(gradient_times_change(model, pairs, direction, inside, layers, ends))
    return total / (model.n_layers - 1)


def relevance(
    model: LanguageModel, pairs: TokenPairs, direction: Direction, layers: Layers = None
) -> np.ndarray:
    """RelP of every head, with the modules of the four architectures written out."""

    @contextmanager
    def inside(pair: int) -> Iterator[None]:
        with ExitStack() as stack:
            for module in model.hf.modules():
                forward = _by_rule(module)
                if forward is not None:
                    module.forward = forward  # type: ignore[method-assign]
                    stack.callback(delattr, module, "forward")
            yield

    return gradient_times_change(model, pairs, direction, inside, layers)


def _by_rule(module: nn.Module) -> Callable[..., Tensor] | None:
    name = type(module).__name__
    if isinstance(module, nn.LayerNorm):

        def layer_norm(x: Tensor) -> Tensor:
            centred = x - x.mean(-1, keepdim=True)
            spread = (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt().detach()
            return centred / spread * module.weight + module.bias

        return layer_norm
    if name in ("LlamaRMSNorm", "Qwen3RMSNorm", "Gemma2RMSNorm"):
        eps = module.eps if name == "Gemma2RMSNorm" else module.variance_epsilon
        gain: Any = module.weight + (1 if name == "Gemma2RMSNorm" else 0)
        return lambda x: x / (x.square().mean(-1, keepdim=True) + eps).sqrt().detach() * gain
    if name in ("GPT2MLP", "GPTNeoXMLP"):
        first, last = (
            (module.c_fc, module.c_proj)
            if name == "GPT2MLP"
            else (module.dense_h_to_4h, module.dense_4h_to_h)
        )

        def plain_mlp(x: Tensor) -> Tensor:
            inner: Any = first(x)
            return last(inner * (module.act(inner) / inner).detach())

        return plain_mlp
    if name in ("LlamaMLP", "Qwen3MLP", "Gemma2MLP"):

        def gated_mlp(x: Tensor) -> Tensor:
            inner: Any = module.gate_proj(x)
            up: Any = module.up_proj(x)
            acted = inner * (module.act_fn(inner) / inner).detach()
            return module.down_proj((acted * up.detach() + acted.detach() * up) / 2)

        return gated_mlp
    return None
