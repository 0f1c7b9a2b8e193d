"""`descent`: gradient descent on a pair of continuous prompts, in the manner of PEZ.

After Wen et al. 2023, "Hard prompts made easy": a continuous pair is kept; at each step it is
projected onto tokens, the gradients are taken *at the projection* and applied to the continuous
pair. The four objectives' gradients, each normalised to unit length, are aggregated by torchjd's
MGDA or UPGrad. (Without normalisation MGDA gives all weight to the smallest.) An objective without
a gradient, as c has none while x and y are equal, is left out of a step: with it MGDA's direction
would be zero. All steps have one length.

How each objective is made differentiable:

* a: the LD change itself. Differentiable in both prompts' embeddings, through x's run and y's head
  output; the answers are constants of the step.
* b: the smallest of the four slopes over their mean, as defined; where the mean is small or
  negative, `LEAST_MEAN_SLOPE` replaces it, since the ratio's gradient has no bound there. The
  minimum has the gradient of the slope that is the smallest.
* c: a soft count of changed tokens: Σ_t d² / (d² + s²), d the distance of the two embeddings at
  position t and s the median distance of two tokens. It is 0 for an unchanged token, near 1 for a
  wholly different one, and pulls on changed tokens however far apart.
* d: the mean cross-entropy of both prompts (their mean, so that both descend; what is reported is
  the greater one). As inputs the embeddings enter exactly; as targets, which are discrete, each
  token is a mixture of its `NEIGHBOURS` nearest tokens, weighted by the distance of its
  embedding.

The position of the beginning-of-sequence token never moves. The projection leaves out tokens that
may not be written: special ones, ones that do not round-trip and, by the setting, words that were
answers at the step before. Each new projection that could enter the
archive is measured exactly, as a discrete pair. A step costs 20 evaluations: 6 rows forward, 6
backward for a, 6 for b and 2 for d.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals import objectives
from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.methods.continuous_pairs import Relaxation, RelaxedRun
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.method_settings import DescentSettings
from counterpoint.counterfactuals.problem import State
from counterpoint.engine.linear import product

if TYPE_CHECKING:
    from torchjd.aggregation import GramianWeightedAggregator

LEAST_MEAN_SLOPE = 0.1
"""In units of LD; smaller mean slopes count as this in the gradient of objective b."""

NEIGHBOURS = 32
"""Tokens that a token is mixed with as a target of the cross-entropy."""

BACKWARD_ROWS = 6 + 6 + 2


class Descent:
    """Descents (`method.SearchRun`) from each start's first prompt in turn, as x and as y."""

    def __init__(self, setup: Setup) -> None:
        self.evaluator, self.archive, self.starts = setup.evaluator, setup.archive, setup.starts
        self.own, self.generator = setup.own(DescentSettings), setup.generator
        self.relaxed = Relaxation(self.evaluator)
        self.scale = median_distance(self.relaxed.table, self.evaluator.vocabulary.allowed)
        self.aggregator = _aggregator(self.own.aggregator)
        self.neighbours = Neighbours(self.relaxed.table)
        self.turn = -1
        self._begin()

    def _origin(self) -> Int[Tensor, "2 length"]:
        """What the descent began with."""
        clean, _ = self.starts[self.turn % len(self.starts)]
        return torch.tensor([clean, clean], device=self.evaluator.model.device)

    def _begin(self) -> None:
        """A descent from the next start."""
        self.turn += 1
        origin = self._origin()
        start = self.relaxed.embed(origin)
        noise = torch.randn(start.shape, generator=self.generator).to(start)
        length = self.own.noise * self.scale / start.shape[-1] ** 0.5
        self.pair = start + movable(self.evaluator, origin)[..., None] * noise * length
        self.velocity = torch.zeros_like(self.pair)
        self.answers: list[int] = []
        self.seen: set[tuple[int, ...]] = set()
        self.idle = 0
        """Steps without a new pair."""

    def step(self) -> bool:
        """One step down, and the projection measured."""
        if self.idle >= self.own.patience:
            self._begin()
        origin = self._origin()
        free = movable(self.evaluator, origin)
        allowed = writable(self.evaluator, origin, self.answers)
        projected = project(self.relaxed, self.pair, origin, free, allowed)
        embeddings = self.relaxed.embed(projected).requires_grad_()
        run = self.relaxed.run(embeddings[None])
        self.answers = run.answers[0].tolist()
        jacobian = _jacobian(
            _losses(run, embeddings, projected, self.neighbours, self.scale), embeddings
        )
        self.evaluator.ledger.evaluations += BACKWARD_ROWS
        direction = _aggregate(jacobian * free[..., None], self.aggregator)
        momentum = self.own.momentum
        self.velocity = momentum * self.velocity + (1 - momentum) * direction
        self.pair = self.pair - self.own.step * self.scale * self.velocity

        key = tuple(projected.flatten().tolist())
        self.idle += 1
        if key not in self.seen:
            self.seen.add(key)
            if _keep(self.evaluator, self.archive, run, projected, origin):
                self.idle = 0
        self.archive.note()
        return True

    def state(self) -> State:
        """As `method.SearchRun` has it."""
        return {
            "turn": self.turn,
            "answers": self.answers,
            "seen": sorted(self.seen),
            "idle": self.idle,
            "tensors": {"pair": self.pair, "velocity": self.velocity},
        }

    def restore(self, state: State) -> None:
        """As `method.SearchRun` has it."""
        self.turn, self.answers = state["turn"], list(state["answers"])
        self.seen, self.idle = set(map(tuple, state["seen"])), state["idle"]
        self.pair = state["tensors"]["pair"].to(self.relaxed.table)
        self.velocity = state["tensors"]["velocity"].to(self.pair)


class Neighbours:
    """The `NEIGHBOURS` tokens nearest to each that was asked for, itself the first."""

    def __init__(self, table: Float[Tensor, "token d_model"]) -> None:
        self.table = table
        self._squares = torch.linalg.vector_norm(table, dim=-1) ** 2
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def of(
        self, tokens: Int[Tensor, " place"]
    ) -> tuple[Int[Tensor, "place neighbour"], Float[Tensor, "place 1"]]:
        """Them, and the square of the distance of the nearest other one."""
        asked = tokens.tolist()
        new = [token for token in dict.fromkeys(asked) if token not in self._known]
        if new:
            # Squares of distances but for the token's own; torch.cdist would copy the table.
            apart = product(self.table[new], self.table).mul_(-2).add_(self._squares)
            apart[torch.arange(len(new)), new] = -torch.inf
            near = apart.topk(min(NEIGHBOURS, len(self.table)), largest=False)
            nearest_other = near.values[:, 1:2] + self._squares[new][:, None]
            unit = nearest_other.clamp_min(torch.finfo(apart.dtype).tiny)
            self._known |= dict(zip(new, zip(near.indices, unit, strict=True), strict=True))
        indices, units = zip(*(self._known[token] for token in asked), strict=True)
        return torch.stack(indices), torch.stack(units)


def _aggregate(
    jacobian: Float[Tensor, "objective 2 length d_model"], aggregator: GramianWeightedAggregator
) -> Float[Tensor, "2 length d_model"]:
    """A direction of unit length from the objectives' gradients, each normalised."""
    norms = jacobian.flatten(1).norm(dim=1)
    there = norms > 0
    direction: Tensor = aggregator(jacobian[there].flatten(1) / norms[there, None])
    length = direction.norm().clamp_min(torch.finfo(direction.dtype).tiny)
    return (direction / length).unflatten(0, jacobian.shape[1:])


def _keep(
    evaluator: Evaluator,
    archive: Archive,
    run: RelaxedRun,
    tokens: Int[Tensor, "2 length"],
    origin: Int[Tensor, "2 length"],
) -> bool:
    """Measure the projected pair exactly, if it could enter the archive, and put it in."""
    outputs = run.outputs[0].detach()
    point = np.array(
        [
            [
                float(objectives.ld_change(outputs)),
                float(objectives.evenness(outputs)),
                float((tokens[0] != tokens[1]).sum()),
                float(_cross_entropy(run.logits[0].detach(), tokens).max()),
            ]
        ]
    )
    if not archive.would_enter(point)[0]:
        evaluator.ledger.refused["a pair in the archive is better in everything"] += 1
        return False
    (measured,) = evaluator.measure(tokens[:1], tokens[1:], origin=origin)
    return archive.add(evaluator.complete(measured)) > 0


def _losses(
    run: RelaxedRun,
    embeddings: Float[Tensor, "2 length d_model"],
    tokens: Int[Tensor, "2 length"],
    neighbours: Neighbours,
    scale: float,
) -> list[Tensor]:
    """The four objectives as numbers to make small, in the order a, b, c, d."""
    change = objectives.ld_change(run.outputs[0])
    slopes = objectives.falls(run.outputs[0])
    apart = (embeddings[0] - embeddings[1]).square().sum(-1)
    return [
        -change,
        -slopes.min() / change.clamp_min(LEAST_MEAN_SLOPE),
        (apart / (apart + scale**2)).sum(),
        _soft_cross_entropy(run.logits[0], embeddings, tokens, neighbours).mean(),
    ]


def _jacobian(
    losses: list[Tensor], embeddings: Float[Tensor, "2 length d_model"]
) -> Float[Tensor, "objective 2 length d_model"]:
    """The gradient of each of the four `_losses`.

    Those of the output, a and b, take one way back, of more rows. The others go apart from them,
    since they depend on less: fluency on the prompts' own runs, distance on no run at all.
    """
    from torchjd.autojac import jac

    rows = []
    for alike in (losses[:2], losses[2:3], losses[3:]):
        (own,) = jac(alike, embeddings, retain_graph=True, parallel_chunk_size=None)
        rows.append(own)
    return torch.cat(rows)


def _cross_entropy(
    logits: Float[Tensor, "2 length vocabulary"], tokens: Int[Tensor, "2 length"]
) -> Float[Tensor, " 2"]:
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
    )
    return losses.unflatten(0, (2, -1)).mean(-1)


def _soft_cross_entropy(
    logits: Float[Tensor, "2 length vocabulary"],
    embeddings: Float[Tensor, "2 length d_model"],
    tokens: Int[Tensor, "2 length"],
    neighbours: Neighbours,
) -> Float[Tensor, " 2"]:
    """Mean loss of each prompt, each target a mixture of the tokens near its embedding."""
    # The nearest is the token itself; the next one's distance is the unit.
    near, unit = neighbours.of(tokens[:, 1:].flatten())
    there = neighbours.table[near]
    squares = (embeddings[:, 1:].flatten(0, 1)[:, None] - there).square().sum(-1)
    weights = (-2 * squares / unit).softmax(-1)
    surprise = -logits[:, :-1].flatten(0, 1).log_softmax(-1).gather(-1, near)
    return (weights * surprise).sum(-1).unflatten(0, (2, -1)).mean(-1)


def movable(
    evaluator: Evaluator, tokens: Int[Tensor, "*row length"]
) -> Bool[Tensor, "*row length"]:
    """All positions but that of the beginning-of-sequence token."""
    free = torch.ones_like(tokens, dtype=torch.bool)
    first = evaluator.model.beginning_of_sequence
    if first is not None:
        free[..., 0] = tokens[..., 0] != first
    return free


def project(
    relaxed: Relaxation,
    pair: Float[Tensor, "2 length d_model"],
    origin: Int[Tensor, "2 length"],
    free: Bool[Tensor, "2 length"],
    allowed: Bool[Tensor, "2 length token"],
) -> Int[Tensor, "2 length"]:
    """The nearest ``allowed`` tokens at the ``free`` positions, elsewhere those of ``origin``."""
    projected, moved = origin.clone(), free[0]
    projected[:, moved] = nearest(relaxed, pair[:, moved], allowed[:, moved])
    return projected


def nearest(
    relaxed: Relaxation,
    embeddings: Float[Tensor, "2 position d_model"],
    allowed: Bool[Tensor, "2 position token"],
) -> Int[Tensor, "2 position"]:
    """The allowed token whose embedding is nearest in Euclidean distance."""
    # Squares of distances but for the embedding's own.
    apart = product(embeddings, relaxed.table).mul_(-2).add_(relaxed.squares)
    return apart.masked_fill_(~allowed, torch.inf).argmin(-1)


def writable(
    evaluator: Evaluator, origin: Int[Tensor, "2 length"], answers: list[int]
) -> Bool[Tensor, "2 length token"]:
    """Which token may stand where; words of the ``answers`` only as the setting allows."""
    words, rule = evaluator.vocabulary, evaluator.settings.answer_in_prompt
    allowed = words.allowed
    if rule != "allow" and answers:
        allowed = allowed & ~torch.isin(words.word, words.word[answers])
    everywhere = allowed.repeat(*origin.shape, 1)
    return everywhere if rule == "forbid" else everywhere.scatter(-1, origin.unsqueeze(-1), True)


def median_distance(table: Float[Tensor, "token d_model"], allowed: Tensor) -> float:
    """Of an even sample of allowed tokens."""
    places = allowed.nonzero()[:, 0]
    sample = table[places[:: max(1, len(places) // 256)]]
    return float(torch.pdist(sample).median())


def _aggregator(name: str) -> GramianWeightedAggregator:
    from torchjd.aggregation import MGDA, UPGrad

    return {"upgrad": UPGrad, "mgda": MGDA}[name]()
