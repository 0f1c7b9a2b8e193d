"""Fresh contexts for the edit of a pair: other beginnings, that no search saw.

Of a pair, what stays is the *tail*: the changed tokens with their near context, from `NEAR` tokens
before the first of them to the end. All that stood before is replaced by a fresh beginning: the
model's own sample, drawn with a seed from two common opening words, that the search never saw. Each
sample is cut where the model finds the tail likeliest to go on, and of many those are taken that
make the more fluent prompts, so that no context is chosen by what the target does in it. Where the
tail is the whole prompt, the beginning is a sentence put in front. Only contexts whose text
tokenises back to the same tokens are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.counterfactuals.language.perplexity import mean_losses
from counterpoint.counterfactuals.language.sampling import continuations
from counterpoint.models.load import LanguageModel

NEAR = 3
"""Tokens before the first changed one that belong to the edit."""

SAMPLED = 16
"""Tokens of a sample, of which a beginning is cut."""

SHORTEST = 3
"""Fewest sampled tokens that a beginning keeps."""

SAMPLES_PER_CONTEXT = 3
"""Samples drawn for each context that is asked for."""

OPENINGS = (
    "The old", "When the", "After the", "In the", "My mother", "They had", "She was", "He had",
    "Last night", "If the", "Every day", "We were", "It was", "On the", "Many people", "This is",
    "One day", "While the", "Our friends", "Some of",
)  # fmt: skip
"""Words that samples begin with. From the beginning-of-sequence token alone an instructed model
would write its chat template, and a lone first word it takes for the name of a speaker."""


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
    logits: list[Tensor] = []
    drawn = continuations(model, begun[:, None], SAMPLED, written, generator, logits)
    expected = [
        part.masked_fill(~written, -torch.inf).float().log_softmax(-1).half() for part in logits
    ]
    return Samples(torch.cat([begun, drawn], 1), torch.cat(expected, 1))


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
    losses = mean_losses(model, [one for both in candidates.values() for one in both])
    found = [
        Context(*both, max(losses[2 * number : 2 * number + 2]))
        for number, both in enumerate(candidates.values())
    ]
    return sorted(found, key=lambda context: context.loss)[:count]
