"""Whether an edit works in contexts that it was not found in.

Of a pair, what stays is the *tail*: the changed tokens with their near context, from `NEAR` tokens
before the first of them to the end. All that stood before is replaced by a fresh beginning: the
model's own sample, drawn with a seed from two common opening words, that the search never saw. Each
sample is cut where the model finds the tail likeliest to go on, and of many those are taken that
make the more fluent prompts, so that no context is chosen by what the target does in it. Where the
tail is the whole prompt, the beginning is a sentence put in front. Only contexts whose text
tokenises back to the same tokens are kept.

In each context all heads are patched (exact AP, `noising`). Answers are read twice: as each
prompt's own likeliest tokens there, and as the pair's own. Where both prompts of a context go on
with the same token, the edit changes nothing that could be asked for: the target counts as neither
first nor among the first five, and its LD change as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.evaluation.all_heads import (
    Pair,
    estimated_effects,
    run_with_values,
    value_gradients,
)
from counterpoint.counterfactuals.head_ranks import rank_of
from counterpoint.counterfactuals.language.perplexity import prompt_losses
from counterpoint.counterfactuals.language.sampling import continuations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.caching import cache_activations
from counterpoint.engine.head_outputs import Units, every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.patching import effects_on, patched_states
from counterpoint.models.load import LanguageModel

Array = np.ndarray

NEAR = 3
"""Tokens before the first changed one that belong to the edit."""

SAMPLED = 16
"""Tokens of a sample, of which a beginning is cut."""

SHORTEST = 3
"""Fewest sampled tokens that a beginning keeps."""

FIRST_FEW = 5
"""The head stays among the first where fewer others than this do more."""

LAYERS_AT_ONCE = 6
"""Layers whose heads are patched before it is seen whether more need be."""

SAMPLES_PER_CONTEXT = 3
"""Samples drawn for each context that is asked for."""

OPENINGS = (
    "The old", "When the", "After the", "In the", "My mother", "They had", "She was", "He had",
    "Last night", "If the", "Every day", "We were", "It was", "On the", "Many people", "This is",
    "One day", "While the", "Our friends", "Some of",
)  # fmt: skip
"""Words that samples begin with. From the beginning-of-sequence token alone an instructed model
would write its chat template, and a lone first word it takes for the name of a speaker."""

COLUMNS = (
    "transfer_contexts",
    "transfer_first",
    "transfer_first_five",
    "transfer_ld_change",
    "transfer_same_answer",
    "transfer_first_declared",
    "transfer_first_five_declared",
    "transfer_ld_change_declared",
    "transfer_perplexity",
    "transfer_kept",
    "transfer_clean",
    "transfer_corrupted",
    "transfer_ranks",
    "transfer_ld_changes",
)
"""What `transfer_of` says of a pair: contexts found; in how many the target is first and in the
first five by |AP|; the median LD change; in how many both prompts have one answer. The same three
with the pair's own answers (``declared``). The median over contexts of the greater of the prompts'
perplexities; tokens of the pair that the contexts keep; and per context the prompts, the target's
rank (0 where the answers are the same) and its LD change."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sentences of the model's own; what it expects after each of their tokens."""

    tokens: Int[Tensor, "sample length"]
    """With the beginning-of-sequence token where the model has one."""
    expected: Float[Tensor, "sample length vocabulary"]
    """Log-probabilities of the next token, in half precision."""


@dataclass(frozen=True)
class Context:
    """A pair with another beginning; ``loss`` is the greater of its prompts' mean losses, in nats
    per token."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    loss: float


@torch.no_grad()
def draw_samples(model: LanguageModel, count: int, seed: int) -> Samples:
    """``count`` samples of `SAMPLED` tokens behind opening words, each on one line."""
    generator = torch.Generator().manual_seed(seed)
    begun = torch.tensor(_openings(model, count, generator), device=model.device)
    written = torch.ones(model.d_vocab, dtype=torch.bool, device=model.device)
    written[_unwritten(model)] = False
    rows = torch.cat([begun, continuations(model, begun[:, None], SAMPLED, written, generator)], 1)
    logits = model.hf(input_ids=rows, use_cache=False).logits.masked_fill(~written, -torch.inf)
    return Samples(rows, logits.float().log_softmax(-1).half())


def _unwritten(model: LanguageModel) -> list[int]:
    """Special tokens, those without a text, and those that break a line: prose goes on."""
    named = min(model.d_vocab, len(model.tokenizer))
    texts = model.tokenizer.batch_decode([[token] for token in range(named)])
    special = {token for token in model.tokenizer.all_special_ids if token < model.d_vocab}
    breaking = {token for token, text in enumerate(texts) if "\n" in text or "\r" in text}
    return sorted(special | breaking | set(range(named, model.d_vocab)))


def _openings(model: LanguageModel, count: int, generator: torch.Generator) -> list[list[int]]:
    """``count`` beginnings of one length: opening words that are one token each."""
    first = model.beginning_of_sequence
    begin = [] if first is None else [first]
    words = [model.encode(text) for text in OPENINGS]
    words = [
        ids
        for text, ids in zip(OPENINGS, words, strict=True)
        if model.decode(ids) == text and len(ids) == len(begin) + 2
    ]
    if not words:
        # A tokenizer that has none of these words: any plain token that stands for itself.
        special = set(model.tokenizer.all_special_ids)
        plain = [t for t in range(min(model.d_vocab, len(model.tokenizer))) if t not in special]
        words = [
            ids
            for ids in ([*begin, plain[i]] for i in _draw(len(plain), 4 * count, generator))
            if model.encode(model.decode(ids)) == ids
        ]
    return [words[i] for i in _draw(len(words), count, generator)]


def _draw(stop: int, count: int, generator: torch.Generator) -> list[int]:
    return torch.randint(stop, (count,), generator=generator).tolist()


def tail_of(
    model: LanguageModel, clean: Sequence[int], corrupted: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The tails of both prompts: equally long, and different where the prompts are.

    Where they are the whole prompts, their first word gets the space that it has within a text, if
    that changes no later token.
    """
    first = next(i for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b)
    begin = 0 if model.beginning_of_sequence is None else 1
    start = max(begin, first - NEAR)
    tails = list(clean[start:]), list(corrupted[start:])
    if start == begin:
        spaced = tuple(_spaced(model, tail) for tail in tails)
        if all(len(new) == len(old) for new, old in zip(spaced, tails, strict=True)) and all(
            new[1:] == old[1:] for new, old in zip(spaced, tails, strict=True)
        ):
            return spaced[0], spaced[1]
    return tails


def _spaced(model: LanguageModel, tail: list[int]) -> list[int]:
    text = str(model.tokenizer.decode(tail, clean_up_tokenization_spaces=False))
    return list(model.tokenizer.encode(f" {text.lstrip()}", add_special_tokens=False))


@torch.no_grad()
def fresh_contexts(
    model: LanguageModel,
    samples: Samples,
    clean: Sequence[int],
    corrupted: Sequence[int],
    count: int,
) -> list[Context]:
    """At most ``count`` contexts for the pair's edit, likeliest first."""
    x, y = tail_of(model, clean, corrupted)
    begin = 0 if model.beginning_of_sequence is None else 1
    tokens, seen = samples.tokens, {tuple(clean), tuple(corrupted)}
    # What both tails begin with, or what the less likely of them does.
    fits = torch.minimum(samples.expected[..., x[0]], samples.expected[..., y[0]]).float()
    longest = min(tokens.shape[1], model.max_length - len(x))
    if longest < begin + SHORTEST:
        return []
    fits = fits[:, begin + SHORTEST - 1 : longest]
    best, place = fits.max(1)
    candidates: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for sample in best.argsort(descending=True, stable=True).tolist():
        beginning = tuple(tokens[sample, : begin + SHORTEST + int(place[sample])].tolist())
        prompts = (*beginning, *x), (*beginning, *y)
        if (
            seen.isdisjoint(prompts)
            and tuple(clean[: len(beginning)]) != beginning
            and all(model.encode(model.decode(list(one))) == list(one) for one in prompts)
        ):
            candidates[beginning] = prompts
        # Enough to choose from: the others go on worse from the first token of the tail.
        if len(candidates) == 2 * count:
            break
    found = []
    for clean_prompt, corrupted_prompt in candidates.values():
        both = torch.tensor([clean_prompt, corrupted_prompt], device=model.device)
        logits = model.hf(input_ids=both, use_cache=False).logits
        losses = [prompt_losses(one, ids.tolist()) for one, ids in zip(logits, both, strict=True)]
        worse = max(float(loss.mean()) for loss in losses)
        found.append(Context(clean_prompt, corrupted_prompt, worse))
    return sorted(found, key=lambda context: context.loss)[:count]


def expected_elsewhere(model: LanguageModel, place: int, contexts: Sequence[Context]) -> float:
    """The share of ``contexts`` in which the head at ``place`` is among the first five to first
    order, by gradients in x's run; 4 evaluations for each."""
    stays = 0
    for context in contexts:
        both = torch.tensor([context.clean, context.corrupted], device=model.device)
        run = run_with_values(model, both)
        correct, incorrect = run.logits[:, -1].argmax(-1)[:, None]
        last = torch.tensor([both.shape[1] - 1], device=model.device)
        _, gradients = value_gradients(model, both[:1], last, correct, incorrect)
        apart = [z[1:] - z[:1] for z in run.z]
        (effects,) = estimated_effects(model.n_heads, gradients, apart)
        differ = bool(correct != incorrect)
        stays += differ and rank_of(effects.cpu().numpy(), place) <= FIRST_FEW
    return stays / len(contexts) if contexts else 0.0


class Transfer:
    """Tries edits in ``count`` contexts each; the samples are drawn once, when first needed."""

    def __init__(
        self, model: LanguageModel, count: int, seed: int = 0, *, memory_mb: int = 1000
    ) -> None:
        self.model, self.count, self.seed, self.memory_mb = model, count, seed, memory_mb

    @cached_property
    def samples(self) -> Samples:
        return draw_samples(self.model, SAMPLES_PER_CONTEXT * self.count, self.seed)

    def of(self, place: int, pair: Pair) -> dict[str, object]:
        """`transfer_of` the pair in contexts of its own."""
        kept = len(tail_of(self.model, pair.clean, pair.corrupted)[0])
        return transfer_of(
            self.model, place, pair.answers, self._contexts(pair), kept, memory_mb=self.memory_mb
        )

    def stands(self, place: int, pair: Pair) -> dict[str, int]:
        """`stands_in` the same contexts."""
        return stands_in(self.model, place, self._contexts(pair), memory_mb=self.memory_mb)

    def _contexts(self, pair: Pair) -> list[Context]:
        return fresh_contexts(self.model, self.samples, pair.clean, pair.corrupted, self.count)


def _by_length(contexts: Sequence[Context]) -> Iterator[tuple[list[int], list[Context]]]:
    """Contexts of one length, which share their first differing token's place, and a sweep; and
    their numbers."""
    for length in sorted({len(context.clean) for context in contexts}):
        where = [i for i, context in enumerate(contexts) if len(context.clean) == length]
        yield where, [contexts[i] for i in where]


def stands_in(
    model: LanguageModel, place: int, contexts: Sequence[Context], *, memory_mb: int = 1000
) -> dict[str, int]:
    """In how many ``contexts`` the head is first and in the first five: of `transfer_of`'s columns
    these and the number of contexts, without patching the heads that no longer matter to them."""
    ahead = np.full(len(contexts), FIRST_FEW)
    for where, here in _by_length(contexts):
        ahead[where] = _ahead(model, place, here, memory_mb)
    return {
        "transfer_contexts": len(contexts),
        "transfer_first": int((ahead == 0).sum()),
        "transfer_first_five": int((ahead < FIRST_FEW).sum()),
    }


def transfer_of(
    model: LanguageModel,
    place: int,
    answers: tuple[int, int],
    contexts: Sequence[Context],
    kept: int,
    *,
    memory_mb: int = 1000,
) -> dict[str, object]:
    """What becomes of the head at ``place`` (layer × heads + head) in ``contexts``: `COLUMNS`."""
    declared = np.zeros((len(contexts), model.n_layers * model.n_heads))
    reread, same = declared.copy(), np.zeros(len(contexts), dtype=bool)
    for where, here in _by_length(contexts):
        declared[where], reread[where], same[where] = _effects(model, here, answers, memory_mb)
    ranks = np.array(
        [0 if no else rank_of(row, place) for row, no in zip(reread, same, strict=True)]
    )
    of_declared = np.array([rank_of(row, place) for row in declared], dtype=int)
    changes = np.where(same, 0.0, -reread[:, place])
    return {
        "transfer_contexts": len(contexts),
        "transfer_first": int((ranks == 1).sum()),
        "transfer_first_five": int(((ranks >= 1) & (ranks <= FIRST_FEW)).sum()),
        "transfer_ld_change": _median(changes),
        "transfer_same_answer": int(same.sum()),
        "transfer_first_declared": int((of_declared == 1).sum()),
        "transfer_first_five_declared": int((of_declared <= FIRST_FEW).sum()),
        "transfer_ld_change_declared": _median(-declared[:, place]),
        "transfer_perplexity": float(np.exp(_median([context.loss for context in contexts]))),
        "transfer_kept": kept,
        "transfer_clean": [model.decode(list(context.clean)) for context in contexts],
        "transfer_corrupted": [model.decode(list(context.corrupted)) for context in contexts],
        "transfer_ranks": ranks.tolist(),
        "transfer_ld_changes": changes.tolist(),
    }


@torch.no_grad()
def _effects(
    model: LanguageModel, contexts: Sequence[Context], answers: tuple[int, int], memory_mb: int
) -> tuple[Array, Array, Array]:
    """AP of every head with declared and with reread answers [context, head]; where these are the
    same token."""
    count = len(contexts)
    engine, likeliest = _engine(model, contexts, memory_mb)
    units = every_unit(model, count)
    asked = torch.stack([torch.tensor([answers] * count, device=model.device), likeliest], 1)
    states = patched_states(engine, "noising", units)
    found = effects_on(engine, states, "noising", units, asked)
    assert units.head is not None
    effects = np.zeros((2, count, model.n_layers, model.n_heads))
    effects[:, units.pair.cpu(), units.layer.cpu(), units.head.cpu()] = found
    declared, reread = effects.reshape(2, count, -1)
    return declared, reread, (likeliest[:, 0] == likeliest[:, 1]).cpu().numpy()


@torch.no_grad()
def _ahead(
    model: LanguageModel, place: int, contexts: Sequence[Context], memory_mb: int
) -> Int[Array, " context"]:
    """How many heads do more than the one at ``place`` with reread answers, or `FIRST_FEW` where
    as many or more do, or where both prompts have one answer. From the last layers, which are
    cheap, to the first, and in each context no further than needed."""
    count, layers = len(contexts), model.n_layers
    engine, likeliest = _engine(model, contexts, memory_mb)
    units, asked = every_unit(model, count), likeliest[:, None]

    def sizes(few: Units) -> Array:
        states = patched_states(engine, "noising", few)
        return np.abs(effects_on(engine, states, "noising", few, asked)[0])

    layer, head = divmod(place, model.n_heads)
    is_target = (units.layer == layer) & (units.head == head)
    differ = (likeliest[:, 0] != likeliest[:, 1]).cpu().numpy()
    ahead = np.where(differ, 0, FIRST_FEW)
    own = sizes(units[is_target.nonzero()[:, 0]]) if differ.any() else np.zeros(count)
    for stop in range(layers, 0, -LAYERS_AT_ONCE):
        undecided = torch.tensor(ahead < FIRST_FEW, device=model.device)[units.pair]
        here = (units.layer < stop) & (units.layer >= stop - LAYERS_AT_ONCE)
        few = units[(here & undecided & ~is_target).nonzero()[:, 0]]
        if len(few):
            pair = few.pair.cpu().numpy()
            np.add.at(ahead, pair, sizes(few) > own[pair])
    return np.minimum(ahead, FIRST_FEW)


def _engine(
    model: LanguageModel, contexts: Sequence[Context], memory_mb: int
) -> tuple[SuffixEngine, Int[Tensor, "context 2"]]:
    """An engine for contexts of one length, and both prompts' likeliest tokens.

    Rows are evaluated in the most careful way that any prompt of the model has needed so far, which
    is not looked for again: contexts differ from the pair in their length alone.
    """
    count = len(contexts)
    pairs = TokenPairs(
        torch.tensor([context.clean for context in contexts]),
        torch.tensor([context.corrupted for context in contexts]),
        # Which answers the engine itself asks for plays no part.
        ((0,),) * count,
        ((1,),) * count,
        tuple(range(count)),
    )
    activations = cache_activations(model, pairs, verify=False)
    engine = SuffixEngine(model, activations, memory_mb=memory_mb, verify=False)
    runs = engine.activations.clean, engine.activations.corrupted
    return engine, torch.stack([engine.logits(run.final).argmax(1) for run in runs], 1)


def _median(values: Sequence[float] | Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")
