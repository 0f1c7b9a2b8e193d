"""Every head at once: what all heads do on a pair, to first order and exactly.

A pair on which the target matters is worth little when another head matters more, and one run of a
pair says something about every head. Attribution patching, the gradient of LD in x's run times the
difference of a head's values, ranks all heads for one more forward and one backward pass (Nanda
2023; Syed, Rager & Conmy 2023). It is only an estimate: what is kept is decided by exact AP, of the
heads that the estimate ranks first while a search goes on, of all heads in the end.

Signs: all effects here are LD changes (`objectives`), −AP in `noising`: positive where a head moves
the answer from x's to y's. Heads are numbered ``layer · n_heads + head``. In
layers without heads those numbers stand for nothing, and have no effect (0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from counterpoint.engine.activation_caching import cache_activations, reuses_prefix
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import Units
from counterpoint.engine.prefix_cache import PrefixKeysValues, cache_for
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.slopes import values
from counterpoint.models.load import LanguageModel

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class HeadValues:
    """Runs of a suffix: every layer's head values z (zeros in layers without heads), the logits at
    the positions where they were asked for, and the cache, which without a prefix holds all keys
    and values; None where the model's prefixes cannot be cached in this way."""

    z: list[Float[Tensor, "row suffix z"]]
    logits: Float[Tensor, "row read vocabulary"]
    cache: Cache | None


@contextmanager
def kept_values(
    model: LanguageModel, *, differentiable: bool = False
) -> Iterator[list[Float[Tensor, "row suffix z"]]]:
    """Within the block a run puts every layer's z into the list that this gives.

    ``differentiable`` makes each z one that has a gradient.
    """
    z: list[Tensor] = []

    def keep(layer: int, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # A leaf of its own where it can be, so that one run gives the gradient at every layer.
        own = args[0]
        if differentiable and not own.requires_grad:
            own.requires_grad_()
        nothing = own.new_zeros(*own.shape[:-1], model.n_heads)
        z.extend([nothing] * (layer - len(z) % model.n_layers))
        z.append(own)
        if layer == model.head_layers[-1]:
            z.extend([nothing] * (model.n_layers - 1 - layer))
        return (own, *args[1:])

    with ExitStack() as hooks:
        for layer in model.head_layers:
            handle = model.output_projection(layer).register_forward_pre_hook(
                lambda module, args, layer=layer: keep(layer, args)
            )
            hooks.callback(handle.remove)
        yield z


def gradients_of(total: Tensor, z: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of ``total`` with respect to every layer's z: 0 in layers without heads."""
    found = iter(torch.autograd.grad(total, [one for one in z if one.requires_grad]))
    return [next(found) if one.requires_grad else torch.zeros_like(one) for one in z]


def run_with_values(
    model: LanguageModel,
    tokens: Int[Tensor, "row suffix"],
    prefix: PrefixKeysValues | None = None,
    *,
    differentiable: bool = False,
    logits_to_keep: int | Int[Tensor, " read"] = 1,
) -> HeadValues:
    """Run ``tokens`` behind ``prefix``, each z with a gradient where it is asked for.

    Logits are those of the last ``logits_to_keep`` positions, or at the positions given: the
    unembedding of a small model costs as much as a fifth of its layers.
    """
    with (
        torch.set_grad_enabled(differentiable),
        kept_values(model, differentiable=differentiable) as z,
    ):
        given = cache_for(prefix)
        if prefix is None and reuses_prefix(model, tokens.shape[1]):
            given = {"past_key_values": DynamicCache(), "use_cache": True}
        logits = model.hf(input_ids=tokens, logits_to_keep=logits_to_keep, **given).logits
    return HeadValues(z, logits, given.get("past_key_values"))


def value_gradients(
    model: LanguageModel,
    clean: Int[Tensor, "reading suffix"],
    last: Int[Tensor, " reading"],
    correct: Int[Tensor, " reading"],
    incorrect: Int[Tensor, " reading"],
    prefix: PrefixKeysValues | None = None,
) -> tuple[HeadValues, list[Float[Tensor, "reading suffix z"]]]:
    """Runs of x, and the gradient of −LD with respect to every layer's z, one row a reading.

    A reading is a run of x with the position ``last``, within the suffix, at which LD is read and
    its two answers. Logits are kept at those positions. Costs 2 evaluations for each reading.
    """
    rows = torch.arange(len(clean), device=clean.device)
    positions, place = torch.unique(last, return_inverse=True)
    with torch.enable_grad():
        run = run_with_values(model, clean, prefix, differentiable=True, logits_to_keep=positions)
        read = run.logits[rows, place]
        fall = (read[rows, incorrect] - read[rows, correct]).sum()
        gradients = gradients_of(fall, run.z)
    z = [one.detach() for one in run.z]
    return HeadValues(z, run.logits.detach(), run.cache), gradients


def estimated_effects(
    n_heads: int,
    gradients: list[Float[Tensor, "pair suffix z"]],
    differences: list[Float[Tensor, "pair suffix z"]],
) -> Float[Tensor, "pair head"]:
    """The LD change of every head to first order, −AtP: gradient times z of y less z of x."""
    effects = [
        (gradient * apart).unflatten(-1, (n_heads, -1)).sum((1, 3))
        for gradient, apart in zip(gradients, differences, strict=True)
    ]
    return torch.stack(effects, 1).flatten(1)


@dataclass(frozen=True)
class Pair:
    """A pair as plain token ids, with its two answers."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    correct: int
    incorrect: int

    @property
    def answers(self) -> tuple[int, int]:
        return self.correct, self.incorrect


def first_order(model: LanguageModel, pair: Pair) -> Float[Array, "2 head"]:
    """Every head's LD change on a pair to first order, by two gradients; costs 5 evaluations.

    The first is taken in x's run. The second in a run whose embeddings lie halfway between those of
    the two prompts: what a head does through attention that is saturated in x's run shows there.
    """
    clean, corrupted = (
        torch.tensor([ids], device=model.device) for ids in (pair.clean, pair.corrupted)
    )
    z_x, z_y = (run_with_values(model, tokens).z for tokens in (clean, corrupted))
    apart = [(to - fro).expand(2, -1, -1) for fro, to in zip(z_x, z_y, strict=True)]
    with torch.no_grad():
        ends = model.embedding(torch.cat([clean, corrupted]))
        points = torch.stack([ends[0], ends.mean(0)])
    with torch.enable_grad(), kept_values(model, differentiable=True) as z:
        read = model.hf(inputs_embeds=points, use_cache=False, logits_to_keep=1).logits[:, -1]
        gradients = gradients_of((read[:, pair.incorrect] - read[:, pair.correct]).sum(), z)
    effects = estimated_effects(model.n_heads, gradients, apart)
    return effects.detach().double().cpu().numpy()


def interleaved(*rankings: Sequence[int]) -> list[int]:
    """What several rankings of the same things have first, without repetition."""
    return list(dict.fromkeys(one for together in zip(*rankings, strict=True) for one in together))


def by_head_number(
    model: LanguageModel, units: Units, values: Float[Array, "*lead unit"]
) -> Float[Array, "*lead head"]:
    """Values of the heads of one pair by their numbers, 0 for numbers that stand for none."""
    assert units.head is not None
    found = np.zeros((*values.shape[:-1], model.n_layers * model.n_heads), dtype=values.dtype)
    found[..., (units.layer * model.n_heads + units.head).cpu().numpy()] = values
    return found


@torch.no_grad()
def exact_effects(
    model: LanguageModel,
    pairs: Sequence[Pair],
    heads: Sequence[Int[Array, " head"]] | None = None,
    alphas: tuple[float, ...] = (1.0,),
    memory_mb: int = 1000,
) -> list[Float[Array, "head alpha"]]:
    """The LD change f(0) − f(α), at α = 1 −AP, of the numbered ``heads`` of each pair (None: of all
    heads), by the engine.

    ``pairs`` have one length. Costs 2 evaluations for each pair, and one for each head and α. What
    is numbered in layers without heads has no effect (0).
    """
    device = model.device
    bucket = TokenPairs(
        torch.tensor([pair.clean for pair in pairs], device=device),
        torch.tensor([pair.corrupted for pair in pairs], device=device),
        tuple((pair.correct,) for pair in pairs),
        tuple((pair.incorrect,) for pair in pairs),
        tuple(range(len(pairs))),
    )
    activations = cache_activations(model, bucket, verify=False)
    engine = SuffixEngine(model, activations, memory_mb=memory_mb, verify=False)
    everything = np.arange(model.n_layers * model.n_heads)
    wanted = [everything] * len(pairs) if heads is None else [np.asarray(one) for one in heads]
    numbers = np.concatenate(wanted)
    owner = np.repeat(np.arange(len(pairs)), [len(one) for one in wanted])
    # The engine wants its rows from the lowest layer up.
    order = np.argsort(numbers // model.n_heads, kind="stable")
    order = order[np.isin(numbers[order] // model.n_heads, model.head_layers)]
    layer, head = (
        torch.as_tensor(part, device=device) for part in np.divmod(numbers[order], model.n_heads)
    )
    units = Units(torch.as_tensor(owner[order], device=device), layer, head)
    moved = values(engine, "noising", "head", units, np.tile(np.array(alphas), (len(units), 1)))
    start = engine.unpatched("clean").double().cpu().numpy()
    effects = np.zeros((len(numbers), len(alphas)))
    effects[order] = start[owner[order], None] - moved
    return np.split(effects, np.cumsum([len(one) for one in wanted])[:-1])
