"""Caching activations: both prompts of every pair are run once, and what is kept is compared.

Keys and values of a prefix that is run alone are those of a whole run in most models, but not in
all: a layer may carry another state (recurrent layers, convolutions), and a rotary embedding may
depend on the length of the prompt. So what is kept is compared with whole runs of the first pair
once for each shape; where it differs, the suffix begins at the first token and there is no prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn

from counterpoint.engine.activations import PROMPTS, Activations, Prompt, Run, TokenPairs
from counterpoint.engine.finite_values import check_answers, check_finite
from counterpoint.engine.head_outputs import head_outputs, output_bias, spread
from counterpoint.engine.library_errors import library_errors
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.prefix_cache import PrefixKeysValues, cache_for, run_prefix
from counterpoint.engine.replay import by_row, first_of, hidden_states_of, last_of
from counterpoint.engine.rounding import COARSE_EPSILON, COARSEST_CHECK, computed_eps
from counterpoint.errors import UserError
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.load import LanguageModel
from counterpoint.models.rotary import crosses_rotary_length

PARTITION_TOLERANCE = 50.0
"""How far, relative to its size, an attention's output may be from the sum of its heads and bias,
in units of the format's epsilon.

SmolLM2 leaves 3 in float32 and 1 in bfloat16, sixty tiny architectures at most 3; an attention
whose output is *not* such a sum misses by order one."""

RUN_TOLERANCE = 500.0
"""How far the kept activations of a prompt may be from those of the same prompt run alone and
whole, relative to the largest of their layer, in units of the computed format's epsilon.

SmolLM2 leaves 36 in float32, sixty tiny architectures with large random weights at most 92."""

POSITIONS_PER_PASS = 1024
"""Of the prompts that are run together on a CPU. More are no quicker (of GPT-2's shape 512, 1,024
and 2,304 all take 1.2 times what the matrix products do), and what a pass leaves has to stand
beside what is kept already."""


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
    known = [starts.get(shape) for shape in _shapes(pairs)]
    # Shapes without a prefix say nothing of whether one may be used.
    alike = [first for _, first in starts if first > 0 or pairs.first_difference == 0]
    if None in known and (verify or not alike):
        return _compared(model, pairs)
    reuses = 0 not in known and all(reuses_prefix(model, length) for length, _ in _shapes(pairs))
    return _activations(model, pairs, pairs.first_difference if reuses else 0)


def reuses_prefix(model: LanguageModel, length: int) -> bool:
    """Whether prompts of ``length`` tokens may be run behind cached keys and values of a prefix.

    True unless it was found, or is known of the rotary embedding, not to be so.
    """
    found = [start > 0 for (_, first), start in _starts(model).items() if first > 0]
    return all(found) and not crosses_rotary_length(model.hf.config, length)


def _shapes(pairs: TokenPairs) -> list[tuple[int, int]]:
    """Length and first differing position of each prompt; once where both have the same."""
    lengths = dict.fromkeys(map(pairs.length_of, PROMPTS))
    return [(length, pairs.first_difference) for length in lengths]


def _starts(model: LanguageModel) -> dict[tuple[int, int], int]:
    """The first position that is kept, for each length and first differing position compared."""
    return cast("dict[tuple[int, int], int]", model.__dict__.setdefault("_starts", {}))


def _compared(model: LanguageModel, pairs: TokenPairs) -> Activations:
    """The activations of pairs whose shape is new, compared with whole runs of the first pair."""
    with library_errors(model, "running a prompt"):
        whole = [_record(model, getattr(pairs, side)[:1], 0, None) for side in PROMPTS]
    starts = [0]
    shapes = _shapes(pairs)
    if pairs.first_difference > 0 and all(reuses_prefix(model, length) for length, _ in shapes):
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
        if error <= allowed or (start == 0 and eps > COARSE_EPSILON):
            _starts(model).update(dict.fromkeys(shapes, start))
            _check_partition(model, found)
            return found
    raise UserError(
        f"model architecture {type(model.hf).__name__}: a prompt of {shapes[0][0]} tokens run with"
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
    """Both prompts of every pair from position ``start`` on, behind a prefix that is run alone.

    Some pairs at a time, through the linear layers by which rows are evaluated later.
    """
    size = _pairs_per_pass(model, pairs, start)
    with through_onednn(model.submodules_of_blocks):
        if size >= len(pairs):
            return _in_one_pass(model, pairs, start)
        runs: dict[str, dict[str, Tensor]] = {prompt: {} for prompt in PROMPTS}
        prefixes: list[PrefixKeysValues] = []
        for first in range(0, len(pairs), size):
            places = range(first, min(first + size, len(pairs)))
            few = _in_one_pass(model, pairs.of(places), start)
            prefixes += [] if few.prefix is None else [few.prefix]
            for prompt in PROMPTS:
                for name, tensor in vars(few.run(prompt)).items():
                    axis = 0 if name == "final" else 1
                    shape = (*tensor.shape[:axis], len(pairs), *tensor.shape[axis + 1 :])
                    # Where all will stand: joined at the end, they would be there twice.
                    whole = runs[prompt].setdefault(name, tensor.new_empty(shape))
                    whole.narrow(axis, first, len(places)).copy_(tensor)
    clean, corrupted = (Run(**runs[prompt]) for prompt in PROMPTS)
    prefix = PrefixKeysValues.joined(prefixes) if prefixes else None
    return Activations(pairs, prefix, clean, corrupted)


def _pairs_per_pass(model: LanguageModel, pairs: TokenPairs, start: int) -> int:
    """So many pairs that a pass has about `POSITIONS_PER_PASS` positions; all on a GPU."""
    if model.device.type != "cpu":
        return len(pairs)
    suffixes = sum(pairs.length_of(prompt) - start for prompt in PROMPTS)
    return max(1, POSITIONS_PER_PASS // max(start, suffixes))


def _in_one_pass(model: LanguageModel, pairs: TokenPairs, start: int) -> Activations:
    """The same of all pairs at once."""
    prefix = run_prefix(model, pairs.clean[:, :start])
    if pairs.aligned_with is not None:
        one, other = (
            _record(model, getattr(pairs, side), start, prefix, pairs, (side,)) for side in PROMPTS
        )
        return Activations(pairs, prefix, one, other)
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
    prompts: Sequence[Prompt] = PROMPTS,
) -> Run:
    """Run the positions from ``start`` on; rows beyond the prefix's own take them in turn.

    Where the rows are the ``prompts`` of ``pairs``, NaN and infinity are errors.
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
        check_finite(model, tokens, pairs.number, runs, logits, prompts)
        answers = pairs.correct, pairs.incorrect
        check_answers(model, tokens, pairs.number, logits, answers, prompts)
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
