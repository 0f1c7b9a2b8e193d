"""What generated pairs are worth, measured anew and by other means than they were selected with.

A search sees its target head alone. Here every head of the model is patched on each pair, so that
the target has a rank among them; the target and its strongest rivals are patched once more in
whole forward passes, one prompt at a time, with no cache and none of the engine; and the edit is
put into contexts that the search never saw (`edit_transfer`).

Against chance stand two nulls. With random answers on the same pair: what the target's rank and
effect would be if the answers had nothing to do with it; one sweep serves all draws, since every
answer's logit follows from the same patched states. And the pairs found for other heads:
``head_effects`` keeps the AP of all heads, from which `head_ranks.ranks_on_other_pairs` reads how
the target does on pairs that the same method made for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.all_heads import Pair, by_head_number
from counterpoint.counterfactuals.evaluation.edit_transfer import COLUMNS as OF_TRANSFER
from counterpoint.counterfactuals.evaluation.edit_transfer import Transfer
from counterpoint.counterfactuals.evaluation.single_pair import engine_of, joint_scores, pair_of
from counterpoint.counterfactuals.head_ranks import head_name, rank_and_margin, rank_of
from counterpoint.counterfactuals.language import perplexity_caps
from counterpoint.counterfactuals.language.perplexity import mean_over, plain_logits
from counterpoint.counterfactuals.language.readability import readability
from counterpoint.counterfactuals.objectives import evenness
from counterpoint.counterfactuals.problem import Target
from counterpoint.counterfactuals.validation.pair_flags import SHORT_CUTS
from counterpoint.counterfactuals.validation.validation_depth import Depth
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.linear import through_onednn
from counterpoint.measures.patching import activation_patching, effects_on, patched_states
from counterpoint.measures.slopes import values
from counterpoint.models.load import LanguageModel

Array = np.ndarray

ALPHAS = np.linspace(0, 1, 21)
"""Points of the target's output curve that are kept; every fifth is one of objective b's."""

PLAIN_RIVALS = 3
"""The strongest other heads that are patched in plain passes beside the target."""

PROMPTS_READ = 200
"""Most prompts of the study, from its first, over whose mean loss the cap of fluency lies."""

KEYS = ("method", "clean", "corrupted")
"""Columns that tell a pair of the archive from the others."""

COLUMNS = (
    *KEYS,
    "place",
    "ap",
    "ap_plain",
    "ap_denoising",
    "rank",
    "rank_denoising",
    "rank_in_layer",
    "reciprocal_rank",
    "reciprocal_rank_in_layer",
    "margin",
    "margin_plain",
    "second",
    "ig_joint",
    "ig_rank",
    "evenness_again",
    "null_rank",
    "null_first",
    "null_ap",
    "perplexity_clean_again",
    "perplexity_corrupted_again",
    "loss_cap",
    "fluent",
    "surprise",
    "surprising_token",
    "repetition",
    *SHORT_CUTS,
    *OF_TRANSFER,
    "alphas",
    "output",
    "head_effects",
)


def validate(
    model: LanguageModel,
    target: Target,
    archive: pd.DataFrame,
    depth: Depth | None = None,
    *,
    prompts: Sequence[list[int]] = (),
    memory_mb: int = 1000,
) -> pd.DataFrame:
    """Validate the pairs that each method prefers: one row per pair, with `COLUMNS`.

    * ``rank`` is the target's place among all heads by |AP| in noising, 1 for the first; ``margin``
      its |AP| over the largest of another head, ``second`` that head; ``ap_plain`` and
      ``margin_plain`` are the same from whole passes, against the `PLAIN_RIVALS` strongest others.
    * ``ig_rank`` is its place by |IG joint|; ``alphas`` and ``output`` are its curve.
    * ``null_rank`` and ``null_ap`` are the medians of its rank and |AP| on random answers,
      ``null_first`` the share of draws on which it comes first; NaN without draws.
    * ``loss_cap`` is the mean loss of ``prompts``, the study's as token ids, and the cap
      `perplexity_caps.FLUENT` more; ``fluent`` says whether neither prompt's mean loss is above it.
      Missing without ``prompts``.
    * ``place`` is the target's number in ``head_effects``, the AP of all heads layer by layer.
    * What stands in `readability.readability` and `edit_transfer.COLUMNS`; the latter are empty for
      pairs that were not transferred.
    """
    depth = depth or Depth()
    best = _preferred(archive, depth.pairs)
    transfer = Transfer(model, depth.transfers, depth.seed, memory_mb=memory_mb)
    rows, cap = [], np.nan
    with through_onednn(model.hf.modules(), packed=True):
        if prompts and best:
            cap = mean_over(model, prompts[:PROMPTS_READ])
            cap += perplexity_caps.CAPS[perplexity_caps.FLUENT]
        for number, row in best:
            found = _by_the_engine(model, target, row, depth, memory_mb)
            if number < depth.transferred and depth.transfers:
                found |= transfer.columns_of(found["place"], pair_of(row))
            rows.append(found)
    # What is independent of the engine is computed as the model itself computes.
    for found, (_, row) in zip(rows, best, strict=True):
        found |= _by_plain_passes(model, pair_of(row), found)
        if prompts:
            most = max(float(found[f"perplexity_{p}_again"]) for p in ("clean", "corrupted"))
            found |= {"loss_cap": cap, "fluent": bool(np.log(most) <= cap)}
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _preferred(archive: pd.DataFrame, count: int) -> list[tuple[int, pd.Series]]:
    """The first ``count`` pairs of each method, each with its number from 0."""
    chosen = []
    for _, of_method in archive.groupby("method", sort=True):
        # Searches from several seeds each have a first choice.
        ordered = of_method.sort_values(
            ["choice", "ld_change"], ascending=[True, False], kind="stable"
        )
        chosen += [(number, row) for number, (_, row) in enumerate(ordered.head(count).iterrows())]
    return chosen


def _by_the_engine(
    model: LanguageModel, target: Target, row: pd.Series, depth: Depth, memory_mb: int
) -> dict[str, Any]:
    """What the engine's sweeps say of a pair: its effects, ranks, nulls and curve."""
    pair = pair_of(row)
    engine = engine_of(model, pair, memory_mb=memory_mb)
    place = target.layer * model.n_heads + target.head
    units = every_unit(model, 1)
    random = _random_answers(model, pair.answers, depth)
    asked = torch.cat([torch.tensor([pair.answers]), random])[None]
    states = patched_states(engine, "noising", units)
    effects = effects_on(engine, states, "noising", units, asked)
    noising, *on_random = by_head_number(model, units, effects)
    denoising = by_head_number(model, units, activation_patching(engine, "denoising"))
    joint = joint_scores(engine)
    layer = slice(target.layer * model.n_heads, (target.layer + 1) * model.n_heads)
    own = units[((units.layer == target.layer) & (units.head == target.head)).nonzero()[:, 0]]
    curve = values(engine, "noising", "head", own, ALPHAS[None])[0]
    rank, margin, second = rank_and_margin(noising, place)
    rank_in_layer = rank_of(noising[layer], target.head)
    null_ranks = [rank_of(effects, place) for effects in on_random]
    return {
        **{key: row[key] for key in KEYS},
        "place": place,
        "ap": noising[place],
        "ap_denoising": denoising[place],
        "rank": rank,
        "rank_denoising": rank_of(denoising, place),
        "rank_in_layer": rank_in_layer,
        "reciprocal_rank": 1 / rank,
        "reciprocal_rank_in_layer": 1 / rank_in_layer,
        "margin": margin,
        "second": head_name(second, model.n_heads),
        "ig_joint": joint[place],
        "ig_rank": rank_of(joint, place),
        "evenness_again": float(evenness(torch.from_numpy(curve[::5]))),
        "null_rank": float(np.median(null_ranks)) if null_ranks else np.nan,
        "null_first": float(np.mean(np.equal(null_ranks, 1))) if null_ranks else np.nan,
        "null_ap": float(np.median(np.abs([e[place] for e in on_random]))) if on_random else np.nan,
        "alphas": ALPHAS.tolist(),
        "output": curve.tolist(),
        "head_effects": noising.tolist(),
    }


def _by_plain_passes(model: LanguageModel, pair: Pair, found: dict[str, Any]) -> dict[str, Any]:
    """What whole passes of batch 1 say of a pair, of whose heads ``found`` has the effects."""
    clean, corrupted = list(pair.clean), list(pair.corrupted)
    order = np.argsort(-np.abs(found["head_effects"]), kind="stable").tolist()
    # A model may have fewer other heads than this; the target is no rival of itself.
    rivals = [other for other in order if other != found["place"]][:PLAIN_RIVALS]
    places = [found["place"], *rivals]
    plain, logits = _plain_passes(model, places, clean, corrupted, pair.answers)
    return {
        "ap_plain": plain[0],
        "margin_plain": rank_and_margin(plain, 0)[1],
        **readability(model, clean, corrupted, pair.answers, logits),
    }


def _random_answers(
    model: LanguageModel, answers: tuple[int, int], depth: Depth
) -> Int[Tensor, "draw 2"]:
    """Two different plain tokens for each draw, uniformly from the vocabulary, none an answer."""
    generator = torch.Generator().manual_seed(depth.seed)
    left_out = {*model.tokenizer.all_special_ids, *answers}
    named = min(model.d_vocab, len(model.tokenizer))
    plain = torch.tensor([token for token in range(named) if token not in left_out])
    first = torch.randint(len(plain), (depth.nulls,), generator=generator)
    step = torch.randint(1, len(plain), (depth.nulls,), generator=generator)
    return torch.stack([plain[first], plain[(first + step) % len(plain)]], 1)


def plain_effect(
    model: LanguageModel,
    target: Target,
    clean: list[int],
    corrupted: list[int],
    answers: tuple[int, int],
) -> float:
    """AP of the target in noising by three whole passes of batch 1: two prompts and the patch."""
    place = target.layer * model.n_heads + target.head
    return float(plain_effects(model, [place], clean, corrupted, answers)[0])


def plain_effects(
    model: LanguageModel,
    places: list[int],
    clean: list[int],
    corrupted: list[int],
    answers: tuple[int, int],
) -> Float[Array, " place"]:
    """AP in noising of several heads (layer × heads + head) by whole passes of batch 1.

    Both prompts are run once, and the clean one once more for each head.
    """
    return _plain_passes(model, places, clean, corrupted, answers)[0]


@torch.no_grad()
def _plain_passes(
    model: LanguageModel,
    places: list[int],
    clean: list[int],
    corrupted: list[int],
    answers: tuple[int, int],
) -> tuple[Float[Array, " place"], dict[str, Float[Tensor, "position vocabulary"]]]:
    """`plain_effects`, and the logits of both prompts' own passes."""
    kept: dict[int, Tensor] = {}

    def metric(logits: Float[Tensor, "position vocabulary"]) -> float:
        return float(logits[-1, answers[0]] - logits[-1, answers[1]])

    def keep(layer: int, args: tuple[Tensor, ...]) -> None:
        kept[layer] = args[0]

    layers = {place // model.n_heads for place in places}
    keeping = [
        model.output_projection(layer).register_forward_pre_hook(
            lambda module, args, layer=layer: keep(layer, args)
        )
        for layer in layers
    ]
    try:
        of_corrupted = plain_logits(model, corrupted)
    finally:
        for handle in keeping:
            handle.remove()
    of_clean = plain_logits(model, clean)
    start = metric(of_clean)
    effects = []
    for place in places:
        layer, head = divmod(place, model.n_heads)

        def take(
            module: torch.nn.Module,
            args: tuple[Tensor, ...],
            other: Tensor = kept[layer],
            head: int = head,
        ) -> tuple[Tensor, ...]:
            z = args[0].clone()
            width = z.shape[-1] // model.n_heads
            own = slice(head * width, (head + 1) * width)
            z[..., own] = other[..., own]
            return (z, *args[1:])

        taking = model.output_projection(layer).register_forward_pre_hook(take)
        try:
            effects.append(metric(plain_logits(model, clean)) - start)
        finally:
            taking.remove()
    return np.array(effects), {"clean": of_clean, "corrupted": of_corrupted}
