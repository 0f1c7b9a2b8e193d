"""Cached activations: everything of the clean and the corrupted run that the measurements need.

The two prompts of a pair share their tokens up to the first differing one. That prefix is run once;
of the suffix, the inputs of every block, the outputs of every attention and MLP, and the values z
of every head are kept for both prompts. With these, no measurement has to run a whole prompt again.

A head's output is ``r[l, h] = z[l, h] W_O[l, h]``; the sum over heads, plus the bias of the output
projection, is what the attention adds (`attn.hook_out` in TransformerLens' names).

Keys and values of a prefix that is run alone are those of a whole run in most models, but not in
all: a layer may carry another state (recurrent layers, convolutions), and a rotary embedding may
depend on the length of the prompt. So what is kept is compared with whole runs of the first pair
once for each shape; where it differs, the suffix begins at the first token and there is no prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine.finite_values import check_answers, check_finite
from counterpoint.engine.replay import (
    PrefixKeysValues,
    by_row,
    cache_for,
    first_of,
    hidden_states_of,
    last_of,
    run_prefix,
)
from counterpoint.engine.rounding import computed_eps
from counterpoint.errors import UserError
from counterpoint.models.architecture import REMEDY
from counterpoint.models.load import LanguageModel
from counterpoint.models.rotary import crosses_rotary_length

Prompt = Literal["clean", "corrupted"]
Direction = Literal["noising", "denoising"]
Component = Literal["head", "mlp"]

PROMPTS: tuple[Prompt, Prompt] = ("clean", "corrupted")
DIRECTIONS: tuple[Direction, Direction] = ("noising", "denoising")

PARTITION_TOLERANCE = 50.0
"""How far, relative to its size, an attention's output may be from the sum of its heads and bias,
in units of the format's epsilon.

SmolLM2 leaves 3 in float32 and 1 in bfloat16, sixty tiny architectures at most 3; an attention
whose output is *not* such a sum misses by order one."""

RUN_TOLERANCE = 500.0
"""How far the kept activations of a prompt may be from those of the same prompt run alone and
whole, relative to the largest of their layer, in units of the computed format's epsilon.

SmolLM2 leaves 36 in float32, sixty tiny architectures with large random weights at most 92."""

COARSE = 1e-4
"""Formats whose epsilon is larger (bfloat16) only choose how a model is run, and refuse none."""

COARSEST_CHECK = 0.25
"""No format may be off by more than this share, however coarse it is."""


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
    """The input of each block; of width 0 where it is not one stream."""
    attention: Float[Tensor, "layer pair suffix d_model"]
    """What each attention's output projection returns; NaN in layers without heads."""
    mlp: Float[Tensor, "layer pair suffix d_model"]
    """The output of each MLP; NaN in layers without one."""
    z: Float[Tensor, "layer pair suffix z"]
    """The values of all heads, concatenated: the input of the output projection. In layers whose
    heads are narrower than others, each head's values end with zeros; see `packed`."""
    final: Float[Tensor, "pair d_model"]
    """The output of the last block at the last position."""


@dataclass(frozen=True, eq=False)
class Activations:
    """The runs of both prompts of every pair in a bucket, and their common prefix."""

    pairs: TokenPairs
    prefix: PrefixKeysValues | None
    clean: Run
    corrupted: Run
    head_way: int | None = None
    """The place in `suffix.WAYS` of how rows that enter at a head are evaluated, where that was
    found when the activations were stored; jobs that read them need not find it again."""

    def run(self, prompt: Prompt) -> Run:
        return self.clean if prompt == "clean" else self.corrupted

    @property
    def start(self) -> int:
        """The first position that is kept: the first differing one, or 0 without a prefix."""
        return self.pairs.length - self.clean.attention.shape[2]

    def tokens(self, prompt: Prompt) -> Int[Tensor, "pair suffix"]:
        """The tokens of the positions that are kept."""
        return getattr(self.pairs, prompt)[:, self.start :]

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
        if self.head_way is not None:
            named["head_way"] = torch.tensor(self.head_way)
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
        way = int(named["head_way"]) if "head_way" in named else None
        return cls(pairs, prefix, runs["clean"], runs["corrupted"], way)


@torch.no_grad()
def cache_activations(
    model: LanguageModel, pairs: TokenPairs, *, verify: bool = True
) -> Activations:
    """Run both prompts of every pair and keep what `Activations` holds.

    Without ``verify`` a shape that was never compared is run as others of the model were.

    Raises UserError, with the reason, when the model's runs cannot be taken apart in this way, a
    head's output is not defined, or the model gives NaN or infinity for a prompt.
    """
    pairs = pairs.to(model.device)
    starts = _starts(model)
    known = starts.get((pairs.length, pairs.first_difference))
    # Shapes without a prefix say nothing of whether one may be used.
    alike = [first for _, first in starts if first > 0 or pairs.first_difference == 0]
    if known is None and (verify or not alike):
        return _compared(model, pairs)
    reuses = reuses_prefix(model, pairs.length) and known != 0
    return _activations(model, pairs, pairs.first_difference if reuses else 0)


def reuses_prefix(model: LanguageModel, length: int) -> bool:
    """Whether prompts of ``length`` tokens may be run behind cached keys and values of a prefix.

    True unless it was found, or is known of the rotary embedding, not to be so.
    """
    found = [start > 0 for (_, first), start in _starts(model).items() if first > 0]
    return all(found) and not crosses_rotary_length(model.hf.config, length)


def _starts(model: LanguageModel) -> dict[tuple[int, int], int]:
    """The first position that is kept, for each length and first differing position compared."""
    return cast("dict[tuple[int, int], int]", model.__dict__.setdefault("_starts", {}))


def _compared(model: LanguageModel, pairs: TokenPairs) -> Activations:
    """The activations of pairs whose shape is new, compared with whole runs of the first pair."""
    with library_errors(model, "running a prompt"):
        whole = [_record(model, getattr(pairs, side)[:1], 0, None) for side in PROMPTS]
    starts = [0]
    if pairs.first_difference > 0 and reuses_prefix(model, pairs.length):
        starts = [pairs.first_difference, 0]
    for start in starts:
        try:
            with library_errors(model, "running a suffix behind its prefix"):
                found = _activations(model, pairs, start)
        except UserError:
            if start == 0:
                raise
            continue
        error = max(map(_largest_difference, (found.clean, found.corrupted), whole, (start, start)))
        with library_errors(model, "looking at the format it computes in"):
            eps = computed_eps(model)
        allowed = min(RUN_TOLERANCE * eps, COARSEST_CHECK)
        # In a coarse format rounding alone may send a token to another expert. Whole runs are the
        # model's own whatever they are off by, and what depends on the batch shows in float32.
        if error <= allowed or (start == 0 and eps > COARSE):
            _starts(model)[pairs.length, pairs.first_difference] = start
            _check_partition(model, found)
            return found
    raise UserError(
        f"model architecture {type(model.hf).__name__}: a prompt of {pairs.length} tokens run with"
        f" others differs from the same prompt run alone by {error:.1e} of its activations' size"
        f" (at most {allowed:.0e} is allowed). Its answer depends on what else is in the batch."
        f" {REMEDY}"
    )


def _largest_difference(run: Run, whole: Run, start: int) -> float:
    """Between a run of pairs and a whole run of the first, relative to the size in each layer."""
    worst = 0.0
    for name in ("z", "attention", "mlp"):
        ours, theirs = getattr(run, name)[:, 0], getattr(whole, name)[:, 0, start:]
        size = theirs.abs().amax((1, 2)).clamp_min(torch.finfo(theirs.dtype).tiny)
        there = ~theirs.isnan().all(2).all(1)
        if bool(there.any()):
            worst = max(worst, float(((ours - theirs).abs().amax((1, 2)) / size)[there].max()))
    return worst


def _activations(model: LanguageModel, pairs: TokenPairs, start: int) -> Activations:
    """Both prompts of every pair from position ``start`` on, behind a prefix that is run alone."""
    prefix = run_prefix(model, pairs.clean[:, :start])
    both = torch.cat([pairs.clean, pairs.corrupted])
    whole = _record(model, both, start, prefix, pairs)
    runs = [
        Run(
            **{
                name: tensor[part] if name == "final" else tensor[:, part]
                for name, tensor in vars(whole).items()
            }
        )
        for part in (slice(0, len(pairs)), slice(len(pairs), None))
    ]
    clean, corrupted = runs
    return Activations(pairs, prefix, clean, corrupted)


def _record(
    model: LanguageModel,
    tokens: Int[Tensor, "row length"],
    start: int,
    prefix: PrefixKeysValues | None,
    pairs: TokenPairs | None = None,
) -> Run:
    """Run the positions from ``start`` on; rows beyond the prefix's own take them in turn.

    Where the rows are the prompts of ``pairs``, NaN and infinity are errors.
    """
    rows, suffix = len(tokens), tokens.shape[1] - start
    kept: dict[tuple[str, int], Tensor] = {}

    def keep(name: str, layer: int, value: Any) -> None:
        # A clone: some blocks add in place to what their parts have returned.
        kept[name, layer] = first_of(value).clone()

    def before(name: str, layer: int) -> Any:
        return lambda module, args, kwargs: keep(name, layer, hidden_states_of(args, kwargs)[0])

    def after(name: str, layer: int) -> Any:
        return lambda module, args, output: keep(name, layer, output)

    with ExitStack() as hooks:

        def hook(module: nn.Module, name: str, layer: int, *, given: bool = False) -> None:
            handle = (
                module.register_forward_pre_hook(before(name, layer), with_kwargs=True)
                if given
                else module.register_forward_hook(after(name, layer))
            )
            hooks.callback(handle.remove)

        for layer, block in enumerate(model.blocks):
            hook(block, "residual", layer, given=True)
        for layer in model.head_layers:
            hook(model.output_projection(layer), "z", layer, given=True)
            hook(model.output_projection(layer), "attention", layer)
        for layer in model.mlp_layers:
            hook(model.mlp(layer), "mlp", layer)
        hook(model.blocks[-1], "output", model.n_layers - 1)
        pair = None
        if prefix is not None:
            pair = torch.arange(rows, device=tokens.device) % len(prefix.keys[0])
        given = cache_for(prefix, pair)
        logits = model.hf(input_ids=tokens[:, start:], logits_to_keep=1, **given).logits[:, -1]
    for name, layers in (("attention", model.head_layers), ("mlp", model.mlp_layers)):
        silent = [layer for layer in layers if (name, layer) not in kept]
        if silent:
            raise UserError(
                f"model architecture {type(model.hf).__name__}: layer {silent[0]} never calls its"
                f" {name} module, but reads its weights in some other way, so that what the {name}"
                f" adds cannot be seen. {REMEDY}"
            )
    seen = by_row(kept["attention", model.head_layers[0]], rows).shape[1]
    if seen != suffix:
        raise UserError(
            f"model architecture {type(model.hf).__name__}: its layers see {seen} positions where"
            f" the prompt has {suffix} tokens, so positions are no tokens. {REMEDY}"
        )
    residual = [kept["residual", layer] for layer in range(model.n_layers)]
    if residual[0].ndim != 3:
        residual = [one.new_empty(rows, suffix, 0) for one in residual]
    if pairs is not None:
        runs = {
            name: [
                by_row(kept.get((name, layer), residual[layer]), rows)
                for layer in range(model.n_layers)
            ]
            for name in ("attention", "mlp", "z")
        } | {"residual": residual}
        check_finite(model, tokens, pairs.number, runs, logits)
        check_answers(model, tokens, pairs.number, logits, (pairs.correct, pairs.incorrect))
    like = by_row(kept["attention", model.head_layers[0]], rows)

    def stacked(name: str) -> Tensor:
        nothing = torch.full_like(like, torch.nan)
        return torch.stack(
            [
                by_row(kept[name, layer], rows) if (name, layer) in kept else nothing
                for layer in range(model.n_layers)
            ]
        )

    values = {layer: by_row(kept["z", layer], rows) for layer in model.head_layers}
    widest = max(one.shape[-1] for one in values.values())
    if any(one.shape[-1] % model.n_heads for one in values.values()):
        raise UserError(
            f"model architecture {type(model.hf).__name__}: {widest} head values cannot be shared"
            f" among the {model.n_heads} heads of the configuration, so its layers differ in their"
            " number of heads. Choose a model that has as many heads in every layer."
        )
    nothing = like.new_full((rows, suffix, widest), torch.nan)
    z = [
        spread(values[layer], model.n_heads, widest) if layer in values else nothing
        for layer in range(model.n_layers)
    ]
    return Run(
        residual=torch.stack(residual),
        attention=stacked("attention"),
        mlp=stacked("mlp"),
        z=torch.stack(z),
        final=last_of(model, kept["output", model.n_layers - 1]),
    )


def spread(z: Float[Tensor, "*row z"], n_heads: int, widest: int) -> Float[Tensor, "*row widest"]:
    """Values of heads with zeros after each head's own, as wide as the widest layer's."""
    if z.shape[-1] == widest:
        return z
    apart = z.unflatten(-1, (n_heads, -1))
    missing = widest // n_heads - apart.shape[-1]
    return nn.functional.pad(apart, (0, missing)).flatten(-2)


def packed(
    model: LanguageModel, layer: int, z: Float[Tensor, "*row widest"]
) -> Float[Tensor, "*row z"]:
    """The inverse of `spread`: what the output projection of ``layer`` is given."""
    width = projection_width(model.output_projection(layer))
    if z.shape[-1] == width:
        return z
    return z.unflatten(-1, (model.n_heads, -1))[..., : width // model.n_heads].flatten(-2)


def output_bias(model: LanguageModel, layer: int) -> Float[Tensor, " d_model"]:
    """What the output projection adds whatever the heads say (zero where it has no bias)."""
    projection = model.output_projection(layer)
    zero = torch.zeros(1, projection_width(projection), device=model.device, dtype=model.dtype)
    return projection(zero)[0]


def projection_width(projection: nn.Module) -> int:
    """How many values of heads an output projection is given."""
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
    """Every head (or MLP) of every layer that has some on each of ``n_pairs`` pairs, lowest layer
    first."""
    heads = model.n_heads if component == "head" else 1
    layer, pair, head = torch.meshgrid(
        torch.tensor(layers_with(model, component), dtype=torch.long),
        torch.arange(n_pairs),
        torch.arange(heads),
        indexing="ij",
    )
    layer, pair, head = (axis.reshape(-1).to(model.device) for axis in (layer, pair, head))
    return Units(pair, layer, head if component == "head" else None)


def layers_with(model: LanguageModel, component: Component) -> list[int]:
    """The layers that have heads, or an MLP, to measure."""
    return model.head_layers if component == "head" else model.mlp_layers


def head_outputs(
    model: LanguageModel, layer: int, z: Float[Tensor, "row suffix z"], head: Int[Tensor, " row"]
) -> Float[Tensor, "row suffix d_model"]:
    """``r[l, h] = z[l, h] W_O[l, h]`` of one head for each row; the bias belongs to no head."""
    z = packed(model, layer, z)
    d_head = z.shape[-1] // model.n_heads
    owner = torch.arange(z.shape[-1], device=z.device) // d_head
    alone = z * (owner == head.unsqueeze(1)).unsqueeze(1)
    return model.output_projection(layer)(alone) - output_bias(model, layer)


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
    for layer in sorted({model.head_layers[0], model.head_layers[-1]}):
        run = activations.clean
        heads = torch.arange(model.n_heads, device=model.device)
        z = run.z[layer, :1].expand(model.n_heads, -1, -1)
        total = head_outputs(model, layer, z, heads).sum(0) + output_bias(model, layer)
        whole = run.attention[layer, 0]
        scale = whole.abs().amax().clamp_min(torch.finfo(whole.dtype).tiny)
        allowed = PARTITION_TOLERANCE * torch.finfo(whole.dtype).eps
        if not float((total - whole).abs().amax() / scale) <= allowed:
            raise UserError(
                f"model architecture {type(model.hf).__name__}: the attention's output in layer"
                f" {layer} is not the sum of its heads' outputs and a bias, so a head's output is"
                " not defined. Choose a model whose attention ends with its output projection."
            )


@contextmanager
def library_errors(model: LanguageModel, step: str) -> Iterator[None]:
    """Turn what a library raises within the block into a UserError that names it.

    Lack of memory and errors that speak to the user are let through.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = (str(error) or repr(error)).strip().partition("\n")[0]
        raise UserError(
            f"model architecture {type(model.hf).__name__}: {step} failed:"
            f" {type(error).__name__}: {message[:300]}. The model's code does something that"
            f" Counterpoint does not expect, or needs a longer prompt. {REMEDY}"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory: a class of its own on accelerators, a text on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
