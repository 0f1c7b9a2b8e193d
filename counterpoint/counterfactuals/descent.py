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

Several descents, from different starts of one length, take their steps side by side, in the same
passes of the model, which are too small alone to use a processor well. None knows of the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals import objectives
from counterpoint.counterfactuals.archive import Archive
from counterpoint.counterfactuals.evaluation import Evaluator
from counterpoint.counterfactuals.problem import State
from counterpoint.counterfactuals.relaxation import Relaxation, RelaxedRun
from counterpoint.counterfactuals.steps import Setup

if TYPE_CHECKING:
    from torchjd.aggregation import GramianWeightedAggregator

LEAST_MEAN_SLOPE = 0.1
"""In units of LD; smaller mean slopes count as this in the gradient of objective b."""

NEIGHBOURS = 32
"""Tokens that a token is mixed with as a target of the cross-entropy."""

FORWARD_ROWS = 6
BACKWARD_ROWS = 6 + 6 + 2


@dataclass(frozen=True)
class DescentSettings:
    """``step`` is the length of a step, over all positions, in units of the median distance of two
    tokens; ``noise`` that of the seeded noise on the first continuous pair, per position.
    After ``patience`` steps without a new pair in the archive a descent begins again, elsewhere.
    As many as ``together`` go on side by side, fewer where the budget would give each of them less
    than ``patience`` steps."""

    aggregator: Literal["upgrad", "mgda"] = "upgrad"
    step: float = 2.0
    momentum: float = 0.5
    noise: float = 0.5
    patience: int = 15
    together: int = 4


class Descent:
    """Descents (`steps.Steps`) from each start's first prompt in turn, as x and as y; of the starts
    those of the commonest length."""

    def __init__(self, setup: Setup) -> None:
        self.evaluator, self.archive = setup.evaluator, setup.archive
        self.own, self.generator = setup.own(DescentSettings), setup.generator
        self.relaxed = Relaxation(self.evaluator)
        self.scale = median_distance(self.relaxed.table, self.evaluator.vocabulary.allowed)
        self.aggregator = _aggregator(self.own.aggregator)
        self.neighbours = Neighbours(self.relaxed.table)
        ((length, _),) = Counter(len(clean) for clean, _ in setup.starts).most_common(1)
        self.starts = [clean for clean, _ in setup.starts if len(clean) == length]
        steps = setup.settings.budget.evaluations // (FORWARD_ROWS + BACKWARD_ROWS)
        count = max(1, min(self.own.together, steps // self.own.patience))
        self.begun = 0
        """Descents that have begun."""
        self.turns = [0] * count
        """The start of each descent under way, as a number that counts on past the last."""
        self.answers: list[list[int]] = [[] for _ in range(count)]
        self.seen: list[set[tuple[int, ...]]] = [set() for _ in range(count)]
        self.idle = [0] * count
        """Steps of each without a new pair."""
        self.pair = self.relaxed.embed(self._tokens())
        self.velocity = torch.zeros_like(self.pair)
        for which in range(count):
            self._begin(which)

    def _tokens(self) -> Int[Tensor, "descent 2 length"]:
        """What each descent began with."""
        clean = [self.starts[turn % len(self.starts)] for turn in self.turns]
        device = self.evaluator.model.device
        return torch.tensor([[one, one] for one in clean], device=device)

    def _begin(self, which: int) -> None:
        """Give a descent up, and begin another in its place from the next start."""
        self.turns[which] = self.begun
        self.begun += 1
        origin = self._tokens()[which]
        start = self.relaxed.embed(origin)
        noise = torch.randn(start.shape, generator=self.generator).to(start)
        length = self.own.noise * self.scale / start.shape[-1] ** 0.5
        free = movable(self.evaluator, origin)[..., None]
        self.pair[which] = start + free * noise * length
        self.velocity[which] = 0
        self.answers[which], self.seen[which], self.idle[which] = [], set(), 0

    def step(self) -> bool:
        """One step down of every descent, and its projection measured."""
        for which, idle in enumerate(self.idle):
            if idle >= self.own.patience:
                self._begin(which)
        origin = self._tokens()
        free = movable(self.evaluator, origin)
        allowed = [writable(self.evaluator, *one) for one in zip(origin, self.answers, strict=True)]
        every = zip(self.pair, origin, free, allowed, strict=True)
        projected = torch.stack([project(self.relaxed, *one) for one in every])
        embeddings = self.relaxed.embed(projected).requires_grad_()
        run = self.relaxed.run(embeddings)
        self.answers = run.answers.tolist()
        jacobian = _jacobian(
            _losses(run, embeddings, projected, self.neighbours, self.scale), embeddings
        )
        self.evaluator.ledger.evaluations += BACKWARD_ROWS * len(projected)
        direction = torch.stack(
            [
                _aggregate(own * moves[..., None], self.aggregator)
                for own, moves in zip(jacobian.unbind(1), free, strict=True)
            ]
        )
        momentum = self.own.momentum
        self.velocity = momentum * self.velocity + (1 - momentum) * direction
        self.pair = self.pair - self.own.step * self.scale * self.velocity

        for which, tokens in enumerate(projected):
            key = tuple(tokens.flatten().tolist())
            self.idle[which] += 1
            if key not in self.seen[which]:
                self.seen[which].add(key)
                if _keep(self.evaluator, self.archive, run, which, tokens, origin[which]):
                    self.idle[which] = 0
        self.archive.note()
        return True

    def state(self) -> State:
        """As `steps.Steps` has it."""
        return {
            "begun": self.begun,
            "turns": self.turns,
            "answers": self.answers,
            "seen": [sorted(seen) for seen in self.seen],
            "idle": self.idle,
            "tensors": {"pair": self.pair, "velocity": self.velocity},
        }

    def restore(self, state: State) -> None:
        """As `steps.Steps` has it."""
        self.begun, self.turns = state["begun"], list(state["turns"])
        self.answers, self.idle = [list(one) for one in state["answers"]], list(state["idle"])
        self.seen = [set(map(tuple, seen)) for seen in state["seen"]]
        self.pair = state["tensors"]["pair"].to(self.pair)
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
            apart = torch.addmm(self._squares, self.table[new], self.table.T, alpha=-2)
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
    which: int,
    tokens: Int[Tensor, "2 length"],
    origin: Int[Tensor, "2 length"],
) -> bool:
    """Measure a projected pair of the run exactly, if it could enter the archive, and put it in."""
    outputs = run.outputs[which].detach()
    point = np.array(
        [
            [
                float(objectives.ld_change(outputs)),
                float(objectives.evenness(outputs)),
                float((tokens[0] != tokens[1]).sum()),
                float(_cross_entropy(run.logits[which].detach(), tokens).max()),
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
    embeddings: Float[Tensor, "descent 2 length d_model"],
    tokens: Int[Tensor, "descent 2 length"],
    neighbours: Neighbours,
    scale: float,
) -> list[Tensor]:
    """The four objectives as numbers to make small, in the order a, b, c, d, each summed over the
    descents: the gradient with respect to one descent's embeddings is its own."""
    change = objectives.ld_change(run.outputs)
    slopes = objectives.falls(run.outputs)
    apart = (embeddings[:, 0] - embeddings[:, 1]).square().sum(-1)
    surprise = _soft_cross_entropy(
        run.logits.flatten(0, 1), embeddings.flatten(0, 1), tokens.flatten(0, 1), neighbours
    )
    return [
        -change.sum(),
        -(slopes.min(-1).values / change.clamp_min(LEAST_MEAN_SLOPE)).sum(),
        (apart / (apart + scale**2)).sum(),
        surprise.sum() / 2,
    ]


def _jacobian(
    losses: list[Tensor], embeddings: Float[Tensor, "descent 2 length d_model"]
) -> Float[Tensor, "objective descent 2 length d_model"]:
    """The gradient of each of the four `_losses`.

    Those of the output, a and b, take one way back, of more rows. The others go apart from them,
    since they depend on less: fluency on the prompts' own runs, distance on no run at all.
    """
    from torchjd.autojac import jac

    rows = []
    for together in (losses[:2], losses[2:3], losses[3:]):
        (own,) = jac(together, embeddings, retain_graph=True, parallel_chunk_size=None)
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
    logits: Float[Tensor, "row length vocabulary"],
    embeddings: Float[Tensor, "row length d_model"],
    tokens: Int[Tensor, "row length"],
    neighbours: Neighbours,
) -> Float[Tensor, " row"]:
    """Mean loss of each prompt, each target a mixture of the tokens near its embedding."""
    # The nearest is the token itself; the next one's distance is the unit.
    near, unit = neighbours.of(tokens[:, 1:].flatten())
    there = neighbours.table[near]
    squares = (embeddings[:, 1:].flatten(0, 1)[:, None] - there).square().sum(-1)
    weights = (-2 * squares / unit).softmax(-1)
    surprise = -logits[:, :-1].flatten(0, 1).log_softmax(-1).gather(-1, near)
    return (weights * surprise).sum(-1).unflatten(0, (len(tokens), -1)).mean(-1)


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
    apart = torch.addmm(relaxed.squares, embeddings.flatten(0, 1), relaxed.table.T, alpha=-2)
    return apart.unflatten(0, allowed.shape[:2]).masked_fill_(~allowed, torch.inf).argmin(-1)


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
