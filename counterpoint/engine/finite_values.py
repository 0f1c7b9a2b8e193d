"""Numbers that are none: NaN and infinity, named where they first show, with their likely cause.

A model that gives NaN for one prompt would otherwise fill a study's tables with it, or be refused
later for something else. Every prompt is run before anything is measured on it, so that run is
where to look; the weights are searched only when it fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.engine.activations import PROMPTS, Prompt
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel

NAMED = 3
"""So many tensors are named when several hold such numbers."""


def check_finite(
    model: LanguageModel,
    tokens: Int[Tensor, "row length"],
    numbers: Sequence[int],
    values: Mapping[str, Sequence[Float[Tensor, "row suffix _"]]],
    logits: Float[Tensor, "row token"],
    prompts: Sequence[Prompt] = PROMPTS,
) -> None:
    """Raise UserError when a run holds NaN or infinity, for the first pair that does.

    ``tokens`` are the ``prompts`` of the pairs ``numbers``: the clean ones, then the corrupted
    ones, or those of one side alone; ``values`` is what the blocks gave for them, by name and
    layer. A logit of −∞ is let pass: it says that a token is forbidden.
    """
    bad = torch.isnan(logits).any(1) | torch.isposinf(logits).any(1)
    for layers in values.values():
        for value in layers:
            bad |= ~torch.isfinite(value).flatten(1).all(1)
    if not bool(bad.any()):
        return
    row = int(bad.nonzero()[0])
    side = prompts[row // len(numbers)]
    number = numbers[row % len(numbers)]
    text = model.decode(tokens[row].tolist())
    layer = next(
        (
            layer
            for layer in range(model.n_layers)
            if any(
                not torch.isfinite(layers[layer][row]).all()
                for layers in values.values()
                if layer < len(layers)
            )
        ),
        None,
    )
    where = "in the logits" if layer is None else f"from block {layer} on"
    others = int(bad.sum()) - 1
    more = f" ({others} more prompts of this batch do too)" if others else ""
    raise UserError(
        f"pair {number}, {side} prompt {text!r}: the model computes NaN or infinity for it,"
        f" {where}{more}. {_cause(model, tokens[row])}"
    )


def check_answers(
    model: LanguageModel,
    tokens: Int[Tensor, "row length"],
    numbers: Sequence[int],
    logits: Float[Tensor, "row token"],
    answers: Sequence[Sequence[Sequence[int]]],
    prompts: Sequence[Prompt] = PROMPTS,
) -> None:
    """Raise UserError for an answer that the model forbids: its logit is −∞, and so would be what
    is measured of it.

    ``answers`` holds the tokens of each pair's answers of either side; the rest is as in
    `check_finite`.
    """
    for side in answers:
        for place, ids in enumerate(side):
            for number, prompt in enumerate(prompts):
                row = place + number * len(numbers)
                bad = [token for token in ids if not bool(torch.isfinite(logits[row, token]))]
                if bad:
                    raise UserError(
                        f"pair {numbers[place]}, {prompt} prompt"
                        f" {model.decode(tokens[row].tolist())!r}: the model forbids the answer"
                        f" {model.decode([bad[0]])!r} (its logit is −∞), so that neither a logit"
                        " difference nor its probability can be measured. Choose another answer,"
                        " or leave the pair out."
                    )


def _cause(model: LanguageModel, tokens: Int[Tensor, " length"]) -> str:
    """What is to blame, and what to do."""
    embedded = torch.isfinite(model.embedding.weight[tokens]).all(1)
    if not bool(embedded.all()):
        token = int(tokens[~embedded][0])
        return (
            f"The embedding of its token {model.decode([token])!r} (id {token}) holds such numbers,"
            " so the weights are damaged: fetch the model again (delete its folder below"
            " resources/models), correct the file that it comes from, or leave the pair out."
        )
    bad = [
        name
        for name, tensor in (*model.hf.named_parameters(), *model.hf.named_buffers())
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        named = ", ".join(bad[:NAMED]) + (f" and {len(bad) - NAMED} more" if bad[NAMED:] else "")
        return (
            f"The weights hold such numbers, in {named}: they are damaged. Fetch the model again"
            " (delete its folder below resources/models), or correct the file it comes from."
        )
    wider = {
        torch.float32: "try `dtype: float64` for the study, or ",
        torch.float64: "",
    }.get(model.dtype, "try `dtype: float32` for the study, or ")
    format = str(model.dtype).removeprefix("torch.")
    return (
        f"All weights are finite, so a value on the way outgrows {format} or something is divided"
        f" by zero: {wider}leave the pair out."
    )
