"""Exact evaluation of discrete pairs, many at once and in stages.

The prompts of a batch have one length. What all of them share at the beginning is run once; of the
rest, each different prompt once (x's of many candidates is often the same). Then the rows of the
path re-enter at the target's layer with the attention output of x's run shifted by α Δ
(`head_path.HeadPath`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from counterpoint.counterfactuals import objectives
from counterpoint.counterfactuals.archive import ScoredPair
from counterpoint.counterfactuals.evaluation.evaluated_pairs import MeasuredPairs, ScreenedPrompts
from counterpoint.counterfactuals.evaluation.head_path import HeadPath, TargetRun
from counterpoint.counterfactuals.language.perplexity import token_losses
from counterpoint.counterfactuals.language.writable_tokens import Vocabulary
from counterpoint.counterfactuals.problem import Ledger, Settings, Target
from counterpoint.engine.activation_caching import cache_activations, reuses_prefix
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.prefix_cache import PrefixKeysValues
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel

PREFIXES_KEPT = 64

_Prefix = tuple[PrefixKeysValues | None, Tensor, Tensor | None]


class Evaluator:
    """Measures pairs for one target, counts what it costs in ``ledger``.

    ``start`` is the token ids of a prompt; with it the engine is checked against the model's own
    forward pass (UserError when the architecture needs something else).
    """

    def __init__(
        self,
        model: LanguageModel,
        target: Target,
        settings: Settings,
        ledger: Ledger,
        start: list[int],
    ) -> None:
        self.model, self.settings, self.ledger = model, settings, ledger
        self.path = HeadPath(model, target)
        self.vocabulary = Vocabulary(model, start)
        self.declared = (
            None
            if settings.answers is None
            else tuple(self.vocabulary.answer(text) for text in settings.answers)
        )
        self.engine = _checked_engine(model, start)
        self._prefixes: OrderedDict[tuple[int, ...], _Prefix] = OrderedDict()

    def aim(self, target: Target) -> None:
        """Measure for another head from now on."""
        if target != self.path.target:
            self.path = HeadPath(self.model, target)

    def prefixes(self) -> list[list[int]]:
        """The prefixes that need not be run again, the last used last."""
        return [list(tokens) for tokens in self._prefixes]

    def restore_prefixes(self, prefixes: Sequence[Sequence[int]]) -> None:
        """Have what `prefixes` gave; costs no evaluations, since they were counted before."""
        self._prefixes.clear()
        for tokens in prefixes:
            ids = torch.tensor(tokens, device=self.model.device)
            self._prefixes[tuple(tokens)] = self._run_prefix(ids)

    # -- stages ------------------------------------------------------------------------------

    @torch.no_grad()
    def measure(
        self,
        clean: Int[Tensor, "pair length"],
        corrupted: Int[Tensor, "pair length"],
        *,
        origin: Int[Tensor, "start length"],
        worth_curve: Callable[[MeasuredPairs], Bool[Tensor, " pair"]] | None = None,
        every_loss: bool = False,
    ) -> list[MeasuredPairs]:
        """Measure pairs in batches that fit in memory.

        First the prompts' own runs; then α = 1 of the valid pairs; then the points between of those
        that ``worth_curve``, which sees what is known so far, chooses (None: all), and their
        prompts' losses; with ``every_loss`` those of all pairs. Each pair costs at most 6
        evaluations.
        ``origin`` is what the pairs started as: tokens that stand there were not written by the
        search.
        """
        return [
            self._measure(clean[part], corrupted[part], origin, worth_curve, every_loss)
            for part in self._parts(clean, corrupted)
        ]

    def complete(self, measured: MeasuredPairs) -> list[ScoredPair]:
        """The pairs of ``measured`` whose objectives are all known and that round-trip."""
        found = []
        for pair in measured.evenness.isnan().logical_not().nonzero()[:, 0].tolist():
            scored = measured.scored(pair, self.ledger.evaluations)
            if all(map(self.vocabulary.round_trips, (scored.clean, scored.corrupted))):
                found.append(scored)
            else:
                self.ledger.refused["the text does not tokenise back"] += 1
        return found

    def _parts(self, clean: Tensor, corrupted: Tensor) -> Iterator[slice]:
        positions = clean.shape[1] - _shared(clean, corrupted)
        size = torch.finfo(self.model.dtype).bits // 8
        # Logits and their logarithms of two prompts; the curve's rows hold less.
        per_pair = 2 * positions * 3 * self.model.d_vocab * size
        fits = max(1, self.settings.memory_mb * 2**20 // per_pair)
        for start in range(0, len(clean), fits):
            yield slice(start, start + fits)

    def _measure(
        self,
        clean: Tensor,
        corrupted: Tensor,
        origin: Tensor,
        worth_curve: Callable[[MeasuredPairs], Tensor] | None,
        every_loss: bool,
    ) -> MeasuredPairs:
        n_pairs, length = clean.shape
        start = _shared(clean, corrupted) if reuses_prefix(self.model, length) else 0
        prompts, place = torch.unique(
            torch.cat([clean, corrupted])[:, start:], dim=0, return_inverse=True
        )
        x, y = place[:n_pairs], place[n_pairs:]
        prefix, prefix_loss, ahead = self.prefix(clean[0, :start])
        run = self.path.own_run(prefix, input_ids=prompts, logits_to_keep=1)
        self.ledger.evaluations += len(prompts)

        at = run.logits[:, -1]
        correct, incorrect = self._answers(at, x, y)
        own = at[x].gather(-1, torch.stack([correct, incorrect], -1))
        unknown = torch.full_like(own[:, 0], torch.nan)
        measured = MeasuredPairs(
            clean=clean,
            corrupted=corrupted,
            correct=correct,
            incorrect=incorrect,
            loss_clean=unknown.clone().float(),
            loss_corrupted=unknown.clone().float(),
            valid=self._valid(clean, corrupted, origin, correct, incorrect),
            ld_change=unknown,
            evenness=unknown.clone(),
        )
        outputs = unknown.unsqueeze(-1).repeat(1, len(objectives.ALPHAS))
        outputs[:, 0] = own[:, 0] - own[:, 1]

        def move(chosen: Tensor, alphas: list[int]) -> None:
            pairs = chosen.nonzero()[:, 0]
            if not len(pairs):
                return
            delta = self.path.difference(run.z[x[pairs]], run.z[y[pairs]])
            # All points of the path together: a pass of few rows costs as much as one of many.
            points = torch.tensor([objectives.ALPHAS[alpha] for alpha in alphas]).to(delta)
            on_the_way = points[:, None, None, None] * delta
            final = self.path.patched(
                run.residual[x[pairs]].repeat(len(alphas), 1, 1),
                (run.attention[x[pairs]] + on_the_way).flatten(0, 1),
                prefix,
                length,
                only_last=True,
            )[:, -1]
            moved = self.difference(
                final, correct[pairs].repeat(len(alphas)), incorrect[pairs].repeat(len(alphas))
            )
            for alpha, of_pairs in zip(alphas, moved.chunk(len(alphas)), strict=True):
                outputs[pairs, alpha] = of_pairs
            self.ledger.evaluations += len(moved)

        chosen = measured.valid
        move(chosen, [4])
        measured.ld_change.copy_(torch.where(chosen, objectives.ld_change(outputs), torch.nan))
        small = chosen & (measured.ld_change < self.settings.smallest_change)
        self.ledger.refused["the LD change is too small"] += int(small.sum())
        chosen = chosen & ~small
        if worth_curve is not None:
            chosen = chosen & worth_curve(measured)
        move(chosen, [1, 2, 3])
        measured.evenness.copy_(torch.where(chosen, objectives.evenness(outputs), torch.nan))

        # Read last: logits at every position are a fifth of a run, and few pairs come so far.
        read = torch.ones_like(chosen) if every_loss else chosen
        rows = torch.unique(torch.cat([x[read], y[read]]))
        losses = prefix_loss + self._token_losses(run.final[rows], prompts[rows]).sum(1)
        if ahead is not None:
            losses += token_losses(ahead.expand(len(rows), 1, -1), prompts[rows, :1])[:, 0]
        for loss, place in ((measured.loss_clean, x), (measured.loss_corrupted, y)):
            loss[read] = (losses / (length - 1))[torch.searchsorted(rows, place[read])]
        return measured

    @torch.no_grad()
    def screen(
        self, prompts: Int[Tensor, "row length"], run: TargetRun | None = None
    ) -> ScreenedPrompts:
        """How much each prompt leans on the target; costs an evaluation for each, and one more
        where its own ``run`` is not given."""
        if run is None:
            run = self.path.own_run(None, input_ids=prompts)
            self.ledger.evaluations += len(prompts)
        mean = run.z.clone()
        mean[:, 1:] = run.z[:, 1:].mean((0, 1))
        delta = self.path.difference(run.z, mean)
        final = self.path.patched(run.residual, run.attention + delta, None, prompts.shape[1])
        at = run.logits[:, 1:]
        if self.declared is None:
            answers = at.topk(2).indices
        else:
            answers = torch.tensor(self.declared, device=at.device).expand(*at.shape[:-1], 2)
        self.ledger.evaluations += len(prompts)
        own = at.gather(-1, answers)
        first, second = answers.unbind(-1)
        losses = token_losses(run.logits[:, :-1], prompts[:, 1:]).cumsum(1)
        return ScreenedPrompts(
            ablation_fall=own[..., 0] - own[..., 1] - self.difference(final[:, 1:], first, second),
            answers=answers,
            loss=losses / torch.arange(1, prompts.shape[1], device=losses.device),
            run=run,
        )

    def answers(
        self, logits: Float[Tensor, "*row vocabulary"]
    ) -> tuple[Int[Tensor, "*row"], Int[Tensor, "*row"]]:
        """What each prompt gives to a pair, by its last logits: the correct answer where it is x,
        and the incorrect one where it is y. Both are its likeliest token, or the declared ones."""
        top = logits.argmax(-1)
        if self.declared is None:
            return top, top
        correct, incorrect = (torch.full_like(top, token) for token in self.declared)
        return correct, incorrect

    @torch.no_grad()
    def surprise(self, prompt: Int[Tensor, " length"]) -> float:
        """Mean loss per predicted token; 1 evaluation."""
        logits = self.model.hf(input_ids=prompt[None], use_cache=False).logits
        self.ledger.evaluations += 1
        return float(token_losses(logits[:, :-1], prompt[None, 1:]).mean())

    # -- parts -------------------------------------------------------------------------------

    @torch.no_grad()
    def prefix(self, tokens: Tensor) -> _Prefix:
        """Keys and values of a prefix, the loss summed over it, and the logits of what follows."""
        if len(tokens) == 0:
            return None, torch.zeros((), device=self.model.device), None
        key = tuple(tokens.tolist())
        if key not in self._prefixes:
            self._prefixes[key] = self._run_prefix(tokens)
            self.ledger.evaluations += 1
        self._prefixes.move_to_end(key)
        if len(self._prefixes) > PREFIXES_KEPT:
            self._prefixes.popitem(last=False)
        return self._prefixes[key]

    @torch.no_grad()
    def _run_prefix(self, tokens: Tensor) -> _Prefix:
        cache = DynamicCache()
        logits = self.model.hf(input_ids=tokens[None], past_key_values=cache, use_cache=True).logits
        return (
            PrefixKeysValues.of(cache),
            token_losses(logits[:, :-1], tokens[None, 1:]).sum(),
            logits[0, -1].clone(),
        )

    def _token_losses(
        self,
        final: Float[Tensor, "row suffix d_model"],
        tokens: Int[Tensor, "row suffix"],
    ) -> Float[Tensor, "row predicted"]:
        """`perplexity.token_losses` of all but the first token, from the last block's output."""
        before = final[:, :-1]
        if not before.numel():
            return before.new_zeros(before.shape[:2], dtype=torch.float32)
        logits = self.engine.logits(before.flatten(0, 1)).unflatten(0, before.shape[:2])
        return token_losses(logits, tokens[:, 1:])

    def _answers(
        self, at: Float[Tensor, "row vocabulary"], x: Tensor, y: Tensor
    ) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
        correct, incorrect = self.answers(at)
        return correct[x], incorrect[y]

    def _valid(
        self,
        clean: Int[Tensor, "pair length"],
        corrupted: Int[Tensor, "pair length"],
        origin: Int[Tensor, "start length"],
        correct: Int[Tensor, " pair"],
        incorrect: Int[Tensor, " pair"],
    ) -> Bool[Tensor, " pair"]:
        """Whether each pair may be kept; what may not is counted by its reason."""
        words, rule = self.vocabulary, self.settings.answer_in_prompt
        reasons = {
            "the prompts are equal": (clean == corrupted).all(1),
            "an answer is a special token": ~(words.plain[correct] & words.plain[incorrect]),
            "both prompts have the same answer": words.word[correct] == words.word[incorrect],
        }
        if rule != "allow":
            unwritten = origin if rule == "unwritten" else None
            reasons["an answer is a word of a prompt"] = torch.stack(
                [
                    words.inside(answer, prompt, unwritten)
                    for answer in (correct, incorrect)
                    for prompt in (clean, corrupted)
                ]
            ).any(0)
        valid = torch.ones_like(correct, dtype=torch.bool)
        for why, refused in reasons.items():
            self.ledger.refused[why] += int((valid & refused).sum())
            valid &= ~refused
        return valid

    def difference(
        self,
        final: Float[Tensor, "*row d_model"],
        correct: Int[Tensor, "*row"],
        incorrect: Int[Tensor, "*row"],
    ) -> Float[Tensor, "*row"]:
        """logit(correct) − logit(incorrect) from the last block's output."""
        tokens = torch.unique(torch.cat([correct.flatten(), incorrect.flatten()]))
        logits = self.engine.logits(final.flatten(0, -2), tokens).reshape(*correct.shape, -1)
        columns = torch.searchsorted(tokens, torch.stack([correct, incorrect], -1))
        own = logits.gather(-1, columns)
        return own[..., 0] - own[..., 1]


def _shared(clean: Int[Tensor, "pair length"], corrupted: Int[Tensor, "pair length"]) -> int:
    """How many tokens all prompts have in common at their beginning; at least one is left over."""
    both = torch.cat([clean, corrupted])
    same = (both == both[0]).all(0)
    return min(int(same.int().cumprod(0).sum()), both.shape[1] - 1)


@torch.no_grad()
def _checked_engine(model: LanguageModel, start: list[int]) -> SuffixEngine:
    """An engine, for its unembedding, that has compared re-entering with the model's own pass."""
    clean = torch.tensor([start], device=model.device)
    corrupted = clean.clone()
    corrupted[0, -1] = (corrupted[0, -1] + 1) % model.d_vocab
    pairs = TokenPairs(clean, corrupted, ((0,),), ((1,),), (0,))
    engine = SuffixEngine(model, cache_activations(model, pairs))
    if not engine.way("head").replays:
        raise UserError(
            f"model architecture {type(model.hf).__name__}: searches take its runs up at a head's"
            " layer, which this model's blocks do not allow (they are given more than the hidden"
            " states); its heads are measured by passes through all blocks instead. Leave out the"
            " searches (`counterfactuals: {targets: []}`), or choose another model."
        )
    return engine
