"""What generated pairs are worth, measured anew and by other means than they were selected with.

A search sees its target head alone. Here every head of the model is patched on each pair, so that
the target has a rank among them; and the target's own effect is taken once more in whole forward
passes, one prompt at a time, with no cache and none of the engine.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.activations import TokenPairs, cache_activations, every_unit
from counterpoint.counterfactuals.objectives import evenness
from counterpoint.counterfactuals.problem import Target
from counterpoint.curves import values
from counterpoint.gradients import integrated_gradients
from counterpoint.models.load import LanguageModel
from counterpoint.patching import activation_patching
from counterpoint.suffix import SuffixEngine

Array = np.ndarray

ALPHAS = np.linspace(0, 1, 21)
"""Points of the target's output curve that are kept; every fifth is one of objective b's."""

KEYS = ("method", "clean", "corrupted")
"""Columns that tell a pair of the archive from the others."""

COLUMNS = (
    *KEYS,
    "ap",
    "ap_plain",
    "ap_denoising",
    "rank",
    "rank_denoising",
    "rank_in_layer",
    "reciprocal_rank",
    "margin",
    "second",
    "ig_joint",
    "ig_rank",
    "evenness_again",
    "round_trip",
    "answer_in_prompt",
    "repetition",
    "alphas",
    "output",
)


def validate(
    model: LanguageModel,
    target: Target,
    archive: pd.DataFrame,
    *,
    pairs_per_method: int = 5,
    memory_mb: int = 1000,
) -> pd.DataFrame:
    """Validate the pairs that each method prefers: one row per pair.

    ``rank`` is the target's place among all heads by |AP| in noising, 1 for the first; ``margin``
    its |AP| over the largest of another head, ``second`` that head; ``ap_plain`` the same AP from
    whole passes; ``ig_rank`` its place by |IG joint|; ``alphas`` and ``output`` its curve.
    ``repetition`` is the larger share, of the two prompts, of token pairs that stood there before.
    """
    rows = []
    for _, of_method in archive.groupby("method", sort=True):
        # Searches from several seeds each have a first choice.
        best = of_method.sort_values(
            ["choice", "ld_change"], ascending=[True, False], kind="stable"
        )
        rows += [
            _validated(model, target, row, memory_mb)
            for _, row in best.head(pairs_per_method).iterrows()
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _validated(
    model: LanguageModel, target: Target, row: pd.Series, memory_mb: int
) -> dict[str, object]:
    clean, corrupted = (
        [int(token) for token in row[f"{p}_tokens"]] for p in ("clean", "corrupted")
    )
    answers = int(row["correct_token"]), int(row["incorrect_token"])
    pairs = TokenPairs(
        torch.tensor([clean]), torch.tensor([corrupted]), ((answers[0],),), ((answers[1],),), (0,)
    )
    engine = SuffixEngine(model, cache_activations(model, pairs), memory_mb=memory_mb)
    place = target.layer * model.n_heads + target.head
    noising, denoising = (
        activation_patching(engine, direction) for direction in ("noising", "denoising")
    )
    joint = integrated_gradients(engine, "noising").score[:, 0].reshape(-1)
    others = np.abs(np.delete(noising, place))
    second = int(np.argsort(-np.abs(noising), kind="stable")[0])
    if second == place:
        second = int(np.argsort(-np.abs(noising), kind="stable")[1])
    layer = slice(target.layer * model.n_heads, (target.layer + 1) * model.n_heads)
    unit = every_unit(model, 1)[slice(place, place + 1)]
    curve = values(engine, "noising", "head", unit, ALPHAS[None])[0]
    rank = rank_of(noising, place)
    return {
        **{key: row[key] for key in KEYS},
        "ap": noising[place],
        "ap_plain": plain_effect(model, target, clean, corrupted, answers),
        "ap_denoising": denoising[place],
        "rank": rank,
        "rank_denoising": rank_of(denoising, place),
        "rank_in_layer": rank_of(noising[layer], target.head),
        "reciprocal_rank": 1 / rank,
        "margin": np.abs(noising[place]) / others.max() if others.max() > 0 else np.inf,
        "second": f"{second // model.n_heads}.{second % model.n_heads}",
        "ig_joint": joint[place],
        "ig_rank": rank_of(joint, place),
        "evenness_again": float(evenness(torch.from_numpy(curve[::5]))),
        "round_trip": all(_round_trips(model, tokens) for tokens in (clean, corrupted)),
        "answer_in_prompt": bool(set(answers) & {*clean, *corrupted}),
        "repetition": max(_repetition(tokens) for tokens in (clean, corrupted)),
        "alphas": ALPHAS.tolist(),
        "output": curve.tolist(),
    }


def rank_of(scores: Float[Array, " head"], place: int) -> int:
    """1 + how many scores are larger in size than the one at ``place``."""
    return 1 + int((np.abs(scores) > np.abs(scores[place])).sum())


@torch.no_grad()
def plain_effect(
    model: LanguageModel,
    target: Target,
    clean: list[int],
    corrupted: list[int],
    answers: tuple[int, int],
) -> float:
    """AP of the target in noising by three whole passes of batch 1: two prompts and the patch."""
    projection = model.output_projections[target.layer]
    kept: list[Tensor] = []

    def metric(tokens: list[int]) -> float:
        logits = model.hf(torch.tensor([tokens], device=model.device), use_cache=False).logits
        return float(logits[0, -1, answers[0]] - logits[0, -1, answers[1]])

    def take(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = args[0].clone()
        width = z.shape[-1] // model.n_heads
        own = slice(target.head * width, (target.head + 1) * width)
        z[..., own] = kept[0][..., own]
        return (z, *args[1:])

    keeping = projection.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    try:
        metric(corrupted)
    finally:
        keeping.remove()
    start = metric(clean)
    taking = projection.register_forward_pre_hook(take)
    try:
        return metric(clean) - start
    finally:
        taking.remove()


def _round_trips(model: LanguageModel, tokens: list[int]) -> bool:
    return model.encode(model.decode(tokens)) == tokens


def _repetition(tokens: list[int]) -> float:
    """Share of neighbouring pairs of tokens that stood in the prompt before."""
    neighbours = list(pairwise(tokens))
    return 1 - len(set(neighbours)) / len(neighbours) if neighbours else 0.0
