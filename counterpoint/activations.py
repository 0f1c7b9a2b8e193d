"""Cached activations: everything of the clean and the corrupted run that the measurements need.

The two prompts of a pair share their tokens up to the first differing one. That prefix is run once;
of the suffix, the inputs of every block, the outputs of every attention and MLP, and the values z
of every head are kept for both prompts. With these, no measurement has to run a whole prompt again.

A head's output is ``r[l, h] = z[l, h] W_O[l, h]``; the sum over heads, plus the bias of the output
projection, is the attention module's output (`attn.hook_out` in TransformerLens' names).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.errors import UserError
from counterpoint.finite import check_finite
from counterpoint.models.load import LanguageModel
from counterpoint.replay import PrefixKeysValues, first_of, hidden_states_of, run_prefix

Prompt = Literal["clean", "corrupted"]
Direction = Literal["noising", "denoising"]
Component = Literal["head", "mlp"]

PROMPTS: tuple[Prompt, Prompt] = ("clean", "corrupted")
DIRECTIONS: tuple[Direction, Direction] = ("noising", "denoising")

PARTITION_TOLERANCE = 1e-3
"""How far, relative to its size, an attention's output may be from the sum of its heads and bias.

Float32 leaves about 1e-6 on the models tried, bfloat16 about 1e-2 of a unit in the last place per
head; an attention whose output is *not* such a sum misses by order one."""


def background_prompt(direction: Direction) -> Prompt:
    """The prompt whose run is held: clean in `noising`, corrupted in `denoising`."""
    return "clean" if direction == "noising" else "corrupted"


def other_prompt(direction: Direction) -> Prompt:
    """The prompt from which the moving component's value comes."""
    return "corrupted" if direction == "noising" else "clean"


@dataclass(frozen=True, eq=False)
class TokenPairs:
    """Pairs of one bucket: equal token length and equal first differing position.

    ``number`` is each pair's number in the study. Raises ValueError when the prompts differ in
    shape, are equal, or do not share one first differing position.
    """

    clean: Int[Tensor, "pair length"]
    corrupted: Int[Tensor, "pair length"]
    correct: tuple[tuple[int, ...], ...]
    incorrect: tuple[tuple[int, ...], ...]
    number: tuple[int, ...]
    first_difference: int = field(init=False)

    def __post_init__(self) -> None:
        if self.clean.shape != self.corrupted.shape:
            raise ValueError("the prompts of a pair must have the same number of tokens")
        differs = self.clean != self.corrupted
        if not bool(differs.any(1).all()):
            raise ValueError("the prompts of a pair must differ in at least one token")
        first = differs.int().argmax(1)
        if not bool((first == first[0]).all()):
            raise ValueError("the pairs of a bucket must share their first differing position")
        object.__setattr__(self, "first_difference", int(first[0]))

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def length(self) -> int:
        return self.clean.shape[1]

    def to(self, device: torch.device | str) -> TokenPairs:
        """The same pairs on another device."""
        return TokenPairs(
            self.clean.to(device),
            self.corrupted.to(device),
            self.correct,
            self.incorrect,
            self.number,
        )


@dataclass(frozen=True, eq=False)
class Run:
    """What one prompt's run leaves of the suffix; ``layer`` counts blocks from 0."""

    residual: Float[Tensor, "layer pair suffix d_model"]
    """The input of each block."""
    attention: Float[Tensor, "layer pair suffix d_model"]
    """The output of each attention module."""
    mlp: Float[Tensor, "layer pair suffix d_model"]
    """The output of each MLP."""
    z: Float[Tensor, "layer pair suffix z"]
    """The values of all heads, concatenated: the input of the output projection."""
    final: Float[Tensor, "pair d_model"]
    """The output of the last block at the last position."""


@dataclass(frozen=True, eq=False)
class Activations:
    """The runs of both prompts of every pair in a bucket, and their common prefix."""

    pairs: TokenPairs
    prefix: PrefixKeysValues | None
    clean: Run
    corrupted: Run

    def run(self, prompt: Prompt) -> Run:
        return self.clean if prompt == "clean" else self.corrupted

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, the form in which it is stored."""
        named: dict[str, Tensor] = {
            "clean_tokens": self.pairs.clean,
            "corrupted_tokens": self.pairs.corrupted,
            "number": torch.tensor(self.pairs.number),
        }
        for side in ("correct", "incorrect"):
            answers = getattr(self.pairs, side)
            named[f"{side}_tokens"] = torch.tensor([token for row in answers for token in row])
            named[f"{side}_counts"] = torch.tensor([len(row) for row in answers])
        for prompt in PROMPTS:
            named |= {f"{prompt}.{name}": tensor for name, tensor in vars(self.run(prompt)).items()}
        if self.prefix is not None:
            for layer, (key, value) in enumerate(
                zip(self.prefix.keys, self.prefix.values, strict=True)
            ):
                named[f"prefix.{layer}.keys"], named[f"prefix.{layer}.values"] = key, value
        return named

    @classmethod
    def from_tensors(
        cls, named: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> Activations:
        """The inverse of `tensors`, on ``device``."""

        def answers(side: str) -> tuple[tuple[int, ...], ...]:
            counts: list[int] = named[f"{side}_counts"].tolist()
            return tuple(
                tuple(part.tolist()) for part in torch.split(named[f"{side}_tokens"], counts)
            )

        pairs = TokenPairs(
            named["clean_tokens"].to(device),
            named["corrupted_tokens"].to(device),
            answers("correct"),
            answers("incorrect"),
            tuple(named["number"].tolist()),
        )
        runs = {
            prompt: Run(
                **{
                    name: named[f"{prompt}.{name}"].to(device)
                    for name in ("residual", "attention", "mlp", "z", "final")
                }
            )
            for prompt in PROMPTS
        }
        n_layers = len(runs["clean"].residual)
        prefix = None
        if "prefix.0.keys" in named:
            prefix = PrefixKeysValues(
                [named[f"prefix.{layer}.keys"].to(device) for layer in range(n_layers)],
                [named[f"prefix.{layer}.values"].to(device) for layer in range(n_layers)],
            )
        return cls(pairs, prefix, runs["clean"], runs["corrupted"])


@torch.no_grad()
def cache_activations(model: LanguageModel, pairs: TokenPairs) -> Activations:
    """Run both prompts of every pair and keep what `Activations` holds.

    Raises UserError when the attention's output is not the sum of its heads and a bias, since a
    head's output is then not defined, and when the model gives NaN or infinity for a prompt.
    """
    pairs = pairs.to(model.device)
    n_pairs, start = len(pairs), pairs.first_difference
    prefix = run_prefix(model, pairs.clean[:, :start])
    suffix = torch.cat([pairs.clean[:, start:], pairs.corrupted[:, start:]])
    both = torch.arange(n_pairs, device=model.device).repeat(2)
    kept: dict[str, list[Tensor]] = {
        name: [suffix] * model.n_layers for name in ("residual", "attention", "mlp", "z", "output")
    }

    def keep(name: str, layer: int, value: Any) -> None:
        kept[name][layer] = first_of(value)

    with ExitStack() as hooks:
        for layer, block in enumerate(model.blocks):
            handles = [
                block.register_forward_pre_hook(
                    lambda m, args, kwargs, layer=layer: keep(
                        "residual", layer, hidden_states_of(args, kwargs)[0]
                    ),
                    with_kwargs=True,
                ),
                block.register_forward_hook(
                    lambda m, args, output, layer=layer: keep("output", layer, output)
                ),
                model.attentions[layer].register_forward_hook(
                    lambda m, args, output, layer=layer: keep("attention", layer, output)
                ),
                model.mlps[layer].register_forward_hook(
                    lambda m, args, output, layer=layer: keep("mlp", layer, output)
                ),
                model.output_projections[layer].register_forward_pre_hook(
                    lambda m, args, layer=layer: keep("z", layer, args[0])
                ),
            ]
            for handle in handles:
                hooks.callback(handle.remove)
        from transformers.cache_utils import DynamicCache

        logits = model.hf(
            input_ids=suffix,
            past_key_values=DynamicCache() if prefix is None else prefix.cache(both),
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    tokens = torch.cat([pairs.clean, pairs.corrupted])
    check_finite(model, tokens, pairs.number, kept, logits)
    stacked = {name: torch.stack(kept[name]) for name in ("residual", "attention", "mlp", "z")}
    final = kept["output"][-1][:, -1]
    runs = [
        Run(**{name: tensor[:, part] for name, tensor in stacked.items()}, final=final[part])
        for part in (slice(0, n_pairs), slice(n_pairs, None))
    ]
    activations = Activations(pairs, prefix, *runs)
    _check_partition(model, activations)
    return activations


def output_bias(model: LanguageModel, layer: int) -> Float[Tensor, " d_model"]:
    """What the output projection adds whatever the heads say (zero where it has no bias)."""
    projection = model.output_projections[layer]
    width = _projection_width(projection)
    zero = torch.zeros(1, width, device=model.device, dtype=model.dtype)
    return projection(zero)[0]


def _projection_width(projection: nn.Module) -> int:
    weight = projection.weight
    assert isinstance(weight, Tensor)
    # Linear stores [out, in]; GPT-2's Conv1D stores [in, out].
    return weight.shape[0] if type(projection).__name__ == "Conv1D" else weight.shape[1]


@dataclass(frozen=True, eq=False)
class Units:
    """The components whose effect is measured: one entry per (pair, layer, head), by layer.

    ``head`` is None where the component is the MLP. ``pair`` is the place in the bucket.
    """

    pair: Int[Tensor, " unit"]
    layer: Int[Tensor, " unit"]
    head: Int[Tensor, " unit"] | None

    def __len__(self) -> int:
        return len(self.pair)

    def __getitem__(self, chosen: Int[Tensor, " chosen"] | slice) -> Units:
        head = None if self.head is None else self.head[chosen]
        return Units(self.pair[chosen], self.layer[chosen], head)


def every_unit(model: LanguageModel, n_pairs: int, component: Component = "head") -> Units:
    """Every head (or MLP) of every layer on each of ``n_pairs`` pairs, lowest layer first."""
    heads = model.n_heads if component == "head" else 1
    layer, pair, head = torch.meshgrid(
        torch.arange(model.n_layers), torch.arange(n_pairs), torch.arange(heads), indexing="ij"
    )
    layer, pair, head = (axis.reshape(-1).to(model.device) for axis in (layer, pair, head))
    return Units(pair, layer, head if component == "head" else None)


def head_outputs(
    model: LanguageModel, layer: int, z: Float[Tensor, "row suffix z"], head: Int[Tensor, " row"]
) -> Float[Tensor, "row suffix d_model"]:
    """``r[l, h] = z[l, h] W_O[l, h]`` of one head for each row; the bias belongs to no head."""
    d_head = z.shape[-1] // model.n_heads
    owner = torch.arange(z.shape[-1], device=z.device) // d_head
    alone = z * (owner == head.unsqueeze(1)).unsqueeze(1)
    return model.output_projections[layer](alone) - output_bias(model, layer)


@torch.no_grad()
def differences(
    model: LanguageModel, activations: Activations, direction: Direction, units: Units
) -> Float[Tensor, "unit suffix d_model"]:
    """Δ = r_other − r_background of each unit, at every position of the suffix."""
    other = activations.run(other_prompt(direction))
    background = activations.run(background_prompt(direction))
    if units.head is None:
        return (other.mlp - background.mlp)[units.layer, units.pair]
    found = []
    for layer in units.layer.unique_consecutive().tolist():
        here = (units.layer == layer).nonzero().squeeze(1)
        z = (other.z[layer] - background.z[layer])[units.pair[here]]
        found.append(head_outputs(model, layer, z, units.head[here]))
    return torch.cat(found)


def _check_partition(model: LanguageModel, activations: Activations) -> None:
    for layer in (0, model.n_layers - 1):
        run = activations.clean
        heads = torch.arange(model.n_heads, device=model.device)
        z = run.z[layer, :1].expand(model.n_heads, -1, -1)
        total = head_outputs(model, layer, z, heads).sum(0) + output_bias(model, layer)
        whole = run.attention[layer, 0]
        scale = whole.abs().amax().clamp_min(torch.finfo(whole.dtype).tiny)
        coarse = torch.finfo(whole.dtype).eps * 100
        if float((total - whole).abs().amax() / scale) > max(PARTITION_TOLERANCE, coarse):
            raise UserError(
                f"model architecture {type(model.hf).__name__}: the attention's output in layer"
                f" {layer} is not the sum of its heads' outputs and a bias, so a head's output is"
                " not defined. Choose a model whose attention ends with its output projection."
            )
