"""The atlas: for every head of the model, the pair on which it matters most.

A search over all heads at once, since one pair says something about every head. It is a
quality-diversity search in the manner of MAP-Elites (Mouret & Clune 2015) with one niche per head:
a niche keeps the best few pairs found for its head, and new pairs are made of those in niches that
still lack a good one, or of fresh sentences that the model wrote. A step makes one batch of
variants, estimates all heads on all their pairs, and checks what promises some niche most
(`variants`, `first_order_estimates`).

What comes out are candidates; `atlas_verification` patches every head of the model on them, and
only what is first then is called so.

The edit is one token, and fluency is a condition: both prompts' mean loss per token at most the
start prompts' mean and `VariantSettings.surprise` more. Tokens that the search put in are never an
answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from counterpoint.counterfactuals.evaluation.all_heads import exact_effects
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.language.perplexity import token_losses
from counterpoint.counterfactuals.language.sampling import LIKELIEST
from counterpoint.counterfactuals.methods.candidate_niches import (
    LEAST_ESTIMATE,
    Candidate,
    Niche,
    for_head,
)
from counterpoint.counterfactuals.methods.first_order_estimates import Estimator
from counterpoint.counterfactuals.methods.method_settings import VariantSettings
from counterpoint.counterfactuals.methods.proposals import Proposals, without
from counterpoint.counterfactuals.methods.search import tokens_of
from counterpoint.counterfactuals.methods.search_checkpoints import (
    Checkpoints,
    restore_run,
    run_state,
)
from counterpoint.counterfactuals.methods.variants import Moves, Prompt, Variants
from counterpoint.counterfactuals.pair_quality import FIRST, WELL_AHEAD, quality
from counterpoint.counterfactuals.problem import (
    Ledger,
    Settings,
    Start,
    State,
    Target,
    as_starts,
)
from counterpoint.engine.linear import through_onednn
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

log = logging.getLogger(__name__)

STEPS_BETWEEN_REPORTS = 20

TRACE_COLUMNS = ("evaluations", "seconds", "first", "good")

CANDIDATE_COLUMNS = (
    "layer",
    "head",
    "seed",
    "clean_tokens",
    "corrupted_tokens",
    "correct_token",
    "incorrect_token",
    "ld_change",
    "margin",
    "loss_clean",
    "loss_corrupted",
    "loss_cap",
    "evaluations",
)


def search_atlas(
    model: LanguageModel,
    starts: Sequence[str | Start],
    settings: Settings | None = None,
    seed: int = 0,
    *,
    way: str = "niches",
    checkpoints: Checkpoints | None = None,
) -> Atlas:
    """Search until the budget is spent, from what ``checkpoints`` kept on.

    ``way`` is a key of `WAYS`, ``settings.method`` may be `VariantSettings`.

    Raises UserError for a start that is empty or longer than the model's context.
    """
    atlas = WAYS[way](model, starts, settings or Settings(), seed)
    progress = Progress("steps of the atlas")
    with through_onednn(model.hf.modules(), packed=True):
        if checkpoints is not None and (kept := checkpoints.kept()):
            atlas.restore(kept)
        while not atlas.ledger.exhausted:
            atlas.step()
            progress(1)
            if checkpoints is not None:
                checkpoints.keep(atlas.state)
            if atlas.counts["steps"] % STEPS_BETWEEN_REPORTS == 0:
                log.info("%d heads first, %d of them well ahead", *atlas.heads_first())
    return atlas


class Atlas:
    """A search over all heads; call `step` until the ledger is exhausted."""

    def __init__(
        self,
        model: LanguageModel,
        starts: Sequence[str | Start],
        settings: Settings,
        seed: int = 0,
    ) -> None:
        self.model, self.seed = model, seed
        own = settings.method
        self.own = own if isinstance(own, VariantSettings) else VariantSettings()
        self.starts: list[Prompt] = [tuple(tokens_of(model, one)[0]) for one in as_starts(starts)]
        self.ledger = Ledger(settings.budget)
        first = Target(model.head_layers[0], 0)
        evaluator = Evaluator(model, first, settings, self.ledger, list(self.starts[0]))
        self.evaluator = evaluator
        self.generator = torch.Generator().manual_seed(seed)
        self.propose = Proposals(evaluator, self.generator)
        self.moves = Moves(evaluator, self.propose, self.own)
        losses = [evaluator.surprise(self.moves.tensor(one)) for one in self.starts]
        self.cap = sum(losses) / len(losses) + self.own.surprise
        """Most mean loss per token, in nats, of a prompt."""
        self.estimator = Estimator(evaluator, self.generator, self.own, self.cap)
        nest = self.moves.first + 2
        n_heads = model.n_layers * model.n_heads
        self.niches = [Niche(self.own.elites, nest) for _ in range(n_heads)]
        self.visits = np.zeros(n_heads)
        """How often a head's niche was worked on."""
        self.sentences: list[Prompt] = []
        self.counts = {"steps": 0, "pairs": 0, "checks": 0}
        self.trace: list[tuple[float, ...]] = []

    def step(self) -> None:
        """Make variants, estimate all heads on them, check what promises most."""
        variants, head = self._variants()
        self.counts["steps"] += 1
        found = None if variants is None else self.estimator.estimate(variants, head)
        if found is not None:
            self.counts["pairs"] += len(found.rows)
            best = np.array([niche.best for niche in self.niches])
            promise = quality(found.effects, found.margin) - best
            promise[found.effects < LEAST_ESTIMATE] = 0
            for pair, effects in self.estimator.check(found, promise.max(1)):
                self._take_in(pair, effects)
        self.trace.append((self.ledger.evaluations, self.ledger.seconds, *self.heads_first()))

    def heads_first(self) -> tuple[int, int]:
        """Niches whose head came first among those checked, with LD change enough; and those
        with a good margin and change as well."""
        best = [niche.best for niche in self.niches]
        return sum(one >= FIRST for one in best), sum(one >= WELL_AHEAD for one in best)

    def _take_in(self, pair: Candidate, effects: dict[int, float]) -> None:
        """Offer a pair that was checked to every head that does something on it."""
        self.counts["checks"] += 1
        for head, effect in effects.items():
            if effect >= LEAST_ESTIMATE:
                self.niches[head].take_in(for_head(pair, effects, head))

    def _variants(self) -> tuple[Variants | None, int | None]:
        """Of a fresh sentence, or of a pair in a niche; and the niche's head."""
        moves = self.moves
        if self.propose.chance() < self.own.explore or not any(one.elites for one in self.niches):
            if not self.sentences:
                length = moves.length(self.starts)
                self.sentences = moves.samples(self.starts, self.own.samples, length)
            sentence = self.sentences.pop()
            places = max(1, len(sentence) - 1 - moves.first)
            place = min(moves.first + self.propose.number(places), len(sentence) - 1)
            return moves.edits(sentence, place, (sentence,)), None
        number = self._weak_niche()
        self.visits[number] += 1
        elites = self.niches[number].elites
        parent = elites[self.propose.number(len(elites))]
        operators = (moves.other_edits, moves.other_shared, moves.other_tail, moves.moved_edit)
        operator = operators[self.propose.number(len(operators))]
        return operator(parent, Target(*divmod(number, self.model.n_heads))), number

    def _weak_niche(self) -> int:
        """A head with something to work on; those that lack a good pair, and were worked on
        less, more often."""
        best = np.array([niche.best for niche in self.niches])
        weight = np.where(best >= WELL_AHEAD, 0.1, np.where(best >= FIRST, 0.4, 1 + best))
        weight = np.where(best > 0, weight / np.sqrt(4 + self.visits), 0.0)
        return int(self.propose.draw(torch.tensor(np.log(weight + 1e-12))[None])[0])

    # -- state ---------------------------------------------------------------------------------

    def state(self) -> State:
        """Everything that the steps to come depend on, as plain values."""
        return {
            **run_state(self.evaluator, self.generator),
            "gradients": self.moves.state(),
            "niches": [niche.state() for niche in self.niches],
            "visits": self.visits.tolist(),
            "sentences": [list(one) for one in self.sentences],
            "checked": sorted(self.estimator.checked),
            "counts": self.counts,
            "trace": [list(row) for row in self.trace],
        }

    def restore(self, state: State) -> None:
        """Continue from what `state` gave."""
        self.moves.restore(state["gradients"])
        restore_run(state, self.evaluator, self.generator)
        for niche, elites in zip(self.niches, state["niches"], strict=True):
            niche.restore(elites)
        self.visits = np.array(state["visits"])
        self.sentences = [tuple(one) for one in state["sentences"]]
        self.estimator.checked = set(state["checked"])
        self.counts = dict(state["counts"])
        self.trace = [tuple(row) for row in state["trace"]]

    # -- tables --------------------------------------------------------------------------------

    def candidates(self) -> pd.DataFrame:
        """One row per candidate, best first within a head; columns `CANDIDATE_COLUMNS`.

        ``margin`` is the LD change over the largest effect of another head that was checked,
        ``evaluations`` what the whole search has spent.
        """
        rows = [
            {
                "layer": number // self.model.n_heads,
                "head": number % self.model.n_heads,
                "seed": self.seed,
                "clean_tokens": list(one.clean),
                "corrupted_tokens": list(one.corrupted),
                "correct_token": one.correct,
                "incorrect_token": one.incorrect,
                "ld_change": one.ld_change,
                "margin": one.margin,
                "loss_clean": one.loss_clean,
                "loss_corrupted": one.loss_corrupted,
                "loss_cap": self.cap,
                "evaluations": self.ledger.evaluations,
            }
            for number, niche in enumerate(self.niches)
            for one in niche.elites
        ]
        return pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))

    def progress(self) -> pd.DataFrame:
        """`heads_first` after every step; columns `TRACE_COLUMNS`."""
        return pd.DataFrame(self.trace, columns=list(TRACE_COLUMNS))


class LikelySwaps(Atlas):
    """The baseline: one token of a start replaced by one of the model's likeliest there.

    Start, position and token are drawn evenly. Every head is patched on each pair that is fluent
    and has two answers, which are read at the end of the prompts.
    """

    def step(self) -> None:
        """Measure one pair."""
        self.counts["steps"] += 1
        pair = self._pair()
        if pair is not None:
            self.counts["pairs"] += 1
            (effects,) = exact_effects(self.model, [pair.pair])
            self.ledger.evaluations += len(effects)
            self._take_in(pair, dict(enumerate(effects[:, 0].tolist())))
        self.trace.append((self.ledger.evaluations, self.ledger.seconds, *self.heads_first()))

    @torch.no_grad()
    def _pair(self) -> Candidate | None:
        clean = self.starts[self.propose.number(len(self.starts))]
        place = 1 + self.propose.number(len(clean) - 1)
        x = self.moves.tensor(clean)
        likeliest = without(self.moves.likely(x[:place]), x[place]).topk(LIKELIEST).indices
        y = x.clone()
        y[place] = likeliest[self.propose.number(len(likeliest))]
        corrupted = tuple(y.tolist())
        logits = self.model.hf(input_ids=torch.stack([x, y]), use_cache=False).logits
        self.ledger.evaluations += 2
        losses = token_losses(logits[:, :-1], torch.stack([x, y])[:, 1:]).mean(1)
        correct, incorrect = logits[:, -1].argmax(-1).tolist()
        words = self.evaluator.vocabulary
        if (
            float(losses.max()) > self.cap
            or not bool(words.plain[correct] & words.plain[incorrect])
            or words.word[correct] == words.word[incorrect]
            or not words.round_trips(corrupted)
        ):
            return None
        return Candidate(
            clean=clean,
            corrupted=corrupted,
            origin=(clean,),
            correct=correct,
            incorrect=incorrect,
            ld_change=float("nan"),
            margin=float("nan"),
            loss_clean=float(losses[0]),
            loss_corrupted=float(losses[1]),
        )


WAYS: dict[str, type[Atlas]] = {"niches": Atlas, "likely_swaps": LikelySwaps}
"""The search for an atlas, and its baseline."""
