"""`fluent`: discrete search in which fluency and the small edit are built in, not penalised.

y is x but for one or two positions, every token that is written is one of the model's own likely
continuations at its place, and a pair is only followed while each prompt's mean loss per token
stays below a cap (the start prompts' mean and `FluentSettings.surprise` more).

Sentences come from the start prompts and from the model's own samples; those that lean on the
target, by what its mean output in its place would do, come first, cut to where they do. The
search *explores* (edits of fresh sentences), *exploits* (operators on the best pairs found) and
ends with a *polish* (every position of the best pair in turn); when exploiting stands still it
explores again. Each operator makes a batch of candidates with a common beginning, half of them
the best by the gradient of the LD change, half drawn by likelihood:

* ``edit swap``: another token at an edited position, of x or of y;
* ``shared swap``: another token at an unedited position, in both prompts;
* ``move``: the edit given up and made at another position;
* ``second edit``: one more edited position;
* ``resample``: two neighbouring shared tokens drawn anew;
* ``tail``: everything after some position drawn anew, from what both prompts find likely;
* ``crossover``: the beginning of one pair and the rest of another.

The best pairs are those with a great LD change that is even, fluent and greater than that of
every other head (`_Search.fitness`). Operators are chosen by how often they have led to a better
pair. Every batch is measured at every end (see `evaluation`), in stages: the prompts' own runs,
then α = 1 where a prompt is fluent, then the rest of the path for the few best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from counterpoint.counterfactuals.archive import Archive, Scored
from counterpoint.counterfactuals.evaluation import Evaluator, Measured, best_few
from counterpoint.counterfactuals.problem import Settings
from counterpoint.counterfactuals.proposals import Proposals, without
from counterpoint.counterfactuals.relaxation import Relaxation
from counterpoint.counterfactuals.rivals import attribution_of_heads

MOST_CHANGED = 2
"""Edited positions that a pair may have."""

CURVES_PER_BATCH = 2
"""Pairs of a batch whose whole path is measured."""

PAIRS_KNOWN = 16
"""Pairs whose gradients and proposals are kept; each takes two prompts' logits of memory."""

GOOD_LEAD = 1.5
"""Times the strongest other head's effect that the target's should have."""


@dataclass(frozen=True)
class FluentSettings:
    """``surprise``: nats per token above the start prompts' mean loss that either prompt may have.
    ``candidates`` are made at a time from the ``proposals`` likeliest tokens; the best ``elites``
    pairs are kept to work on; ``samples`` sentences are drawn for each round of exploring, which
    takes the ``explore`` share of the budget, as the polish takes ``polish``. After ``patience``
    batches without a better pair a new round begins. Without ``gradient`` every candidate is drawn
    by likelihood."""

    surprise: float = 0.5
    candidates: int = 12
    proposals: int = 60
    elites: int = 12
    samples: int = 24
    explore: float = 0.35
    polish: float = 0.1
    patience: int = 15
    gradient: bool = True


Origin = tuple[tuple[int, ...], ...]
"""One sentence or a given pair's two, as token ids."""


@dataclass(frozen=True)
class _Member:
    """A pair that is worked on.

    ``origin`` is the sentence, or pair, that it came from; ``lead`` the target's LD change over
    the strongest rival's effect, to first order.
    """

    scored: Scored
    lead: float
    origin: Origin
    fitness: float


@dataclass(frozen=True, eq=False)
class _Knowledge:
    """What one differentiated run says about a pair."""

    log_probabilities: Float[Tensor, "2 length token"]
    gradient: Float[Tensor, "2 length d_model"]
    """Of the LD change, with respect to the embeddings of x and y."""


Batch = tuple[Tensor, Tensor, Tensor]
"""Token ids of x, y [candidate, length] and of the origin [sentence, length]."""


def fluent(
    evaluator: Evaluator,
    archive: Archive,
    starts: Sequence[tuple[list[int], list[int]]],
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """Search until the budget is spent; ``starts`` are token ids of x and y."""
    own = settings.method if isinstance(settings.method, FluentSettings) else FluentSettings()
    _Search(evaluator, archive, starts, own, generator).run()


class _Search:
    def __init__(
        self,
        evaluator: Evaluator,
        archive: Archive,
        starts: Sequence[tuple[list[int], list[int]]],
        own: FluentSettings,
        generator: torch.Generator,
    ) -> None:
        self.evaluator, self.archive, self.own, self.starts = evaluator, archive, own, starts
        self.device = evaluator.model.device
        self.propose = Proposals(evaluator, generator)
        self.relaxed = Relaxation(evaluator)
        self.first = 2 if evaluator.model.beginning_of_sequence is not None else 1
        """The first position that is written: nothing says which word should be the very first."""
        self.length = max(len(clean) for clean, _ in starts)
        self.pool: list[_Member] = []
        self.seen: set[tuple[int, ...]] = set()
        self.known: dict[tuple[int, ...], _Knowledge] = {}
        self.operators: dict[str, Callable[[_Member], Batch | None]] = {
            "edit swap": self.edit_swap,
            "shared swap": self.shared_swap,
            "move": self.move,
            "second edit": self.second_edit,
            "resample": self.resample,
            "tail": self.tail,
            "crossover": self.crossover,
        }
        self.tried = dict.fromkeys(self.operators, 0)
        self.led_further = dict.fromkeys(self.operators, 0)
        self.cap = self._cap()

    def run(self) -> None:
        ledger, own = self.evaluator.ledger, self.own
        total = ledger.budget.evaluations
        polish_from = total * (1 - own.polish)
        explored = 0.0
        self._given_pairs()
        while not ledger.exhausted:
            begun = ledger.evaluations
            self.explore(min(begun + max(total * own.explore - explored, total * 0.1), polish_from))
            explored += ledger.evaluations - begun
            self.exploit(polish_from)
            if ledger.evaluations >= polish_from or self._out_of_time():
                break
        self.polish()
        self.archive.also = [member.scored for member in self.pool]

    # -- phases ------------------------------------------------------------------------------

    def _given_pairs(self) -> None:
        for clean, corrupted in self.starts:
            x, y = self._tensor([clean]), self._tensor([corrupted])
            if clean != corrupted:
                self.measure((x, y, torch.cat([x, y])))

    def explore(self, until: float) -> None:
        """Edits of fresh sentences, of those first that lean on the target most."""
        sentences = self.sentences()
        while not self._stop(until):
            if not sentences:
                sentences = self.sentences()
            rank = torch.arange(len(sentences), dtype=torch.float32)
            origin = sentences.pop(int(self.propose.draw(-rank[None] / 2)[0]))
            sentence = self._tensor(origin[0])
            known = self.knowledge(sentence, sentence)
            position = self.position(known, len(sentence))
            tokens = self.choose(
                known.log_probabilities[0, position - 1],
                known.gradient[1, position],
                sentence[position],
            )
            y = sentence.repeat(len(tokens), 1)
            y[:, position] = tokens
            self.measure((sentence.repeat(len(tokens), 1), y, self._tensor(origin)))

    def sentences(self) -> list[Origin]:
        """Starts and samples, cut to the end at which they lean on the target most, best first.

        A start's second prompt, where it has one, stands behind the first.
        """
        known: list[Origin] = [(tuple(x), tuple(y)) for x, y in self.starts]
        known += [(tuple(sample),) for sample in self.samples()]
        found = []
        for length in sorted({len(origin[0]) for origin in known}):
            group = [origin for origin in known if len(origin[0]) == length]
            leaning = self.evaluator.screen(self._tensor([origin[0] for origin in group]))
            # Shorter ends have nothing to edit but the very first words.
            leaning[:, : min(3, leaning.shape[1] - 1)] = -torch.inf
            best = leaning.max(1)
            found += [
                (value, _cut(origin, end + 2))
                for value, end, origin in zip(
                    best.values.tolist(), best.indices.tolist(), group, strict=True
                )
            ]
        return [origin for _, origin in sorted(found, key=lambda item: -item[0])]

    def exploit(self, until: float) -> None:
        """Operators on the best pairs, until nothing better was found for a while."""
        idle = 0
        while self.pool and idle < self.own.patience and not self._stop(until):
            name = self.operator()
            batch = self.operators[name](self.parent())
            self.tried[name] += 1
            idle += 1
            if batch is not None and self.measure(batch):
                self.led_further[name] += 1
                idle = 0

    def polish(self) -> None:
        """Every position of the best pair in turn, until none makes it better; then the next."""
        place = 0
        while place < len(self.pool) and not self.evaluator.ledger.exhausted:
            member = self.pool[place]
            better = False
            edited = self._edited(member)
            for position in range(self.first, len(member.scored.clean)):
                if self.evaluator.ledger.exhausted:
                    break
                side = 1 if position in edited else None
                better |= self.measure(self.swap_at(member, position, side))
            place = 0 if better else place + 1

    # -- operators ---------------------------------------------------------------------------

    def edit_swap(self, member: _Member) -> Batch | None:
        position = self._any(self._edited(member))
        return self.swap_at(member, position, side=self.propose.number(2))

    def shared_swap(self, member: _Member) -> Batch | None:
        shared = self._shared(member)
        return self.swap_at(member, self._any(shared), side=None) if shared else None

    def second_edit(self, member: _Member) -> Batch | None:
        shared = self._shared(member)
        if not shared or len(self._edited(member)) >= MOST_CHANGED:
            return None
        return self.swap_at(member, self._any(shared), side=1)

    def swap_at(self, member: _Member, position: int, side: int | None) -> Batch:
        """Other tokens at ``position`` of x (side 0), of y (1), or of both (None)."""
        x, y = self._pair(member)
        known = self.knowledge(x, y)
        sides = [0, 1] if side is None else [side]
        tokens = self.choose(
            known.log_probabilities[sides, position - 1].mean(0),
            known.gradient[sides, position].sum(0),
            torch.stack([x, y])[sides, position],
        )
        pair = torch.stack([x, y]).repeat(len(tokens), 1, 1)
        for one in sides:
            pair[:, one, position] = tokens
        return pair[:, 0], pair[:, 1], self._tensor(member.origin)

    def move(self, member: _Member) -> Batch | None:
        x, y = self._pair(member)
        known = self.knowledge(x, y)
        position = self.position(known, len(x))
        tokens = self.choose(
            known.log_probabilities[0, position - 1], known.gradient[1, position], x[position]
        )
        moved = x.repeat(len(tokens), 1)
        moved[:, position] = tokens
        return x.repeat(len(tokens), 1), moved, self._tensor(member.origin)

    def resample(self, member: _Member) -> Batch | None:
        x, y = self._pair(member)
        edited = self._edited(member)
        places = [
            place
            for place in range(self.first, len(x) - 1)
            if place not in edited and place + 1 not in edited
        ]
        if not places:
            return None
        place = self._any(places)
        drawn = self.propose.continue_together(
            torch.stack([x, y])[:, :place], self.own.candidates // 2, 2
        )
        pair = torch.stack([x, y]).repeat(len(drawn), 1, 1)
        pair[:, :, place : place + 2] = drawn[:, None]
        return pair[:, 0], pair[:, 1], self._tensor(member.origin)

    def tail(self, member: _Member) -> Batch | None:
        x, y = self._pair(member)
        after = self._edited(member)[-1] + 1
        place = after + self.propose.number(max(1, len(x) - after))
        longest = min(max(self.length, place + 2), self.evaluator.model.max_length)
        if longest <= place:
            return None
        drawn = self.propose.continue_together(
            torch.stack([x, y])[:, :place], self.own.candidates // 2, longest - place
        )
        pair = torch.cat(
            [
                torch.stack([x, y])[:, :place].repeat(len(drawn), 1, 1),
                drawn[:, None].repeat(1, 2, 1),
            ],
            dim=-1,
        )
        # What is drawn anew has no origin: an answer in it counts as written.
        origin = torch.full((len(member.origin), longest), -1, device=self.device)
        origin[:, :place] = self._tensor(_cut(member.origin, place))
        return pair[:, 0], pair[:, 1], origin

    def crossover(self, member: _Member) -> Batch | None:
        other = self.parent()
        length = min(len(member.scored.clean), len(other.scored.clean))
        if length <= self.first or other is member:
            return None
        cut = self.first + self.propose.number(length - self.first)
        x, y = (
            self._tensor([(*one[:cut], *rest[cut:length])])
            for one, rest in (
                (member.scored.clean, other.scored.clean),
                (member.scored.corrupted, other.scored.corrupted),
            )
        )
        origins = zip(_pair_of(member.origin), _pair_of(other.origin), strict=True)
        return x, y, self._tensor([(*one[:cut], *rest[cut:length]) for one, rest in origins])

    # -- choosing ----------------------------------------------------------------------------

    def choose(
        self,
        log_probabilities: Float[Tensor, " token"],
        gradient: Float[Tensor, " d_model"],
        present: Int[Tensor, ""] | Int[Tensor, " side"],
    ) -> Int[Tensor, " candidate"]:
        """Tokens to write: half the best by gradient, half drawn, of the likeliest proposals."""
        scores = without(log_probabilities, present)
        count = min(self.own.proposals, int(scores.isfinite().sum()))
        likeliest = scores.topk(count)
        wanted = min(self.own.candidates, count)
        slope = self.relaxed.table[likeliest.indices] @ gradient
        best = slope.topk(wanted // 2 if self.own.gradient else 0).indices
        drawable = likeliest.values.clone()
        drawable[best] = -torch.inf
        noise = torch.rand(count, generator=self.propose.generator).to(drawable)
        drawn = (drawable - (-noise.clamp(1e-12, 1 - 1e-7).log()).log()).topk(wanted - len(best))
        return likeliest.indices[torch.cat([best, drawn.indices])]

    def operator(self) -> str:
        names = list(self.operators)
        rate = torch.tensor(
            [(1 + self.led_further[name]) / (2 + self.tried[name]) for name in names]
        )
        return names[int(self.propose.draw(rate.log()[None])[0])]

    def parent(self) -> _Member:
        """One of the pool, better ones more often."""
        rank = torch.arange(len(self.pool), dtype=torch.float32)
        return self.pool[int(self.propose.draw(-rank[None] / 3)[0])]

    def position(self, known: _Knowledge, length: int) -> int:
        """A position to edit, at random; more often one where y's gradient is large."""
        strength = known.gradient[1, self.first : length].norm(dim=-1)
        even = strength.mean().clamp_min(torch.finfo(strength.dtype).tiny)
        return self.first + int(self.propose.draw((strength + even).log()[None])[0])

    def samples(self) -> list[list[int]]:
        """Sentences of the model's own, from the first word or words of starts."""
        sentences: list[list[int]] = []
        begins = 4
        for _ in range(begins):
            clean, _ = self.starts[self.propose.number(len(self.starts))]
            begin = clean[: self.first + self.propose.number(max(1, len(clean) // 2))]
            if len(begin) < self.length:
                drawn = self.propose.continue_together(
                    self._tensor([begin]),
                    max(1, self.own.samples // begins),
                    self.length - len(begin),
                )
                sentences += [begin + row for row in drawn.tolist()]
        return sentences

    # -- measuring ---------------------------------------------------------------------------

    def measure(self, batch: Batch) -> bool:
        """Measure a batch, put what is good into archive and pool; whether the pool got better."""
        x, y, origin = batch
        changed = (x != y).sum(1)
        fresh = torch.tensor(
            [
                0 < count <= MOST_CHANGED and self._is_new(one, other)
                for count, one, other in zip(changed.tolist(), x.tolist(), y.tolist(), strict=True)
            ],
            device=self.device,
        )
        if not bool(fresh.any()):
            return False
        before = [member.fitness for member in self.pool]
        for measured in self.evaluator.measure(
            x[fresh],
            y[fresh],
            origin=origin,
            ends="all",
            worth_effect=self._fluent,
            worth_curve=self._promising,
        ):
            found = self.evaluator.complete(measured)
            self.archive.add(found)
            self._take_in(found, tuple(map(tuple, origin.tolist())))
        self.archive.note()
        after = [member.fitness for member in self.pool]
        return after[:4] != before[:4]

    def _is_new(self, x: list[int], y: list[int]) -> bool:
        key = (*x, -1, *y)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def _fluent(self, measured: Measured) -> Bool[Tensor, "pair end"]:
        fluent = torch.maximum(measured.loss_clean, measured.loss_corrupted) <= self.cap
        self.evaluator.ledger.refused["a prompt is not fluent"] += int(
            (measured.valid & ~fluent).sum()
        )
        return fluent

    def _promising(self, measured: Measured) -> Bool[Tensor, "pair end"]:
        """All good ends of the few pairs with the greatest LD change."""
        floor = self.pool[-1].fitness if len(self.pool) >= self.own.elites else 0.0
        return best_few(measured, CURVES_PER_BATCH, floor)

    def _take_in(self, found: list[Scored], origin: Origin) -> None:
        """The best end of each pair joins the pool; the pool keeps the best, a few per sentence."""
        best: list[Scored] = []
        for scored in sorted(found, key=self.fitness, reverse=True):
            if not any(_is_cut(scored, other) or _is_cut(other, scored) for other in best):
                best.append(scored)
        floor = self.pool[-1].fitness if len(self.pool) >= self.own.elites else 0.0
        members = {(member.scored.clean, member.scored.corrupted): member for member in self.pool}
        for scored in best:
            if self.fitness(scored) > floor:
                lead = self.lead(scored)
                members[scored.clean, scored.corrupted] = _Member(
                    scored, lead, _cut(origin, len(scored.clean)), self.fitness(scored, lead)
                )
        kept: list[_Member] = []
        crowd: dict[tuple[int, ...], int] = {}
        for member in sorted(
            members.values(), key=lambda one: (-one.fitness, one.scored.clean, one.scored.corrupted)
        ):
            nest = member.origin[0][: self.first + 3]
            if crowd.get(nest, 0) < max(2, self.own.elites // 3):
                crowd[nest] = crowd.get(nest, 0) + 1
                kept.append(member)
        self.pool = kept[: self.own.elites]

    def lead(self, scored: Scored) -> float:
        """The LD change over the greatest effect of any other head, to first order."""
        scores = attribution_of_heads(
            self.evaluator,
            self._tensor([scored.clean]),
            self._tensor([scored.corrupted]),
            self._tensor([scored.correct]),
            self._tensor([scored.incorrect]),
        )[0].abs()
        target = self.evaluator.path.target
        scores[target.layer, target.head] = 0
        return scored.ld_change / max(float(scores.max()), 1e-6)

    def fitness(self, scored: Scored, lead: float = GOOD_LEAD) -> float:
        """What the pool is ordered by: the LD change, made less by what else a good pair has.

        Times the root of the evenness, 0 for a pair that goes back on its way; times the lead
        over other heads, up to `GOOD_LEAD`; and up to a half less between the starts' mean loss
        and the cap.
        """
        excess = (scored.log_perplexity - self.cap) / max(self.own.surprise, 1e-6) + 1
        fluency = 1 - 0.5 * min(1.0, max(0.0, excess))
        return (
            scored.ld_change
            * max(scored.evenness, 0.0) ** 0.5
            * min(1.0, lead / GOOD_LEAD)
            * fluency
        )

    # -- knowing -----------------------------------------------------------------------------

    def knowledge(self, x: Int[Tensor, " length"], y: Int[Tensor, " length"]) -> _Knowledge:
        """Gradient and proposals at a pair; 3 evaluations forward, 3 backward, once for a pair."""
        key = (*x.tolist(), -1, *y.tolist())
        if key not in self.known:
            embeddings = self.relaxed.embed(torch.stack([x, y])).requires_grad_()
            run = self.relaxed.run(embeddings, alphas=(1.0,))
            (gradient,) = torch.autograd.grad(run.outputs[0] - run.outputs[1], embeddings)
            self.evaluator.ledger.evaluations += 3
            if len(self.known) >= PAIRS_KNOWN:
                self.known.pop(next(iter(self.known)))
            self.known[key] = _Knowledge(self.propose.writable(run.logits.detach()), gradient)
        return self.known[key]

    def _cap(self) -> float:
        losses = [self.evaluator.surprise(self._tensor(clean)) for clean, _ in self.starts]
        return sum(losses) / len(losses) + self.own.surprise

    # -- small things ------------------------------------------------------------------------

    def _tensor(self, ids: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(ids, device=self.device)

    def _pair(self, member: _Member) -> tuple[Tensor, Tensor]:
        return self._tensor(member.scored.clean), self._tensor(member.scored.corrupted)

    def _edited(self, member: _Member) -> list[int]:
        both = zip(member.scored.clean, member.scored.corrupted, strict=True)
        return [place for place, (one, other) in enumerate(both) if one != other]

    def _shared(self, member: _Member) -> list[int]:
        edited = self._edited(member)
        return [p for p in range(self.first, len(member.scored.clean)) if p not in edited]

    def _any(self, places: list[int]) -> int:
        return places[self.propose.number(len(places))]

    def _out_of_time(self) -> bool:
        limit = self.evaluator.ledger.budget.seconds
        return limit is not None and self.evaluator.ledger.seconds >= limit * (1 - self.own.polish)

    def _stop(self, until: float) -> bool:
        return self.evaluator.ledger.evaluations >= until or self._out_of_time()


def _cut(origin: Origin, length: int) -> Origin:
    return tuple(sentence[:length] for sentence in origin)


def _pair_of(origin: Origin) -> Origin:
    """Two sentences, twice the same where there is one."""
    return (origin[0], origin[-1])


def _is_cut(one: Scored, other: Scored) -> bool:
    """Whether ``one`` is ``other`` cut to an earlier end."""
    length = len(one.clean)
    return one.clean == other.clean[:length] and one.corrupted == other.corrupted[:length]
