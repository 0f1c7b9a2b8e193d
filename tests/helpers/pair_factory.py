"""Random pairs of tokens for the tiny models."""

from __future__ import annotations

import torch

from counterpoint.engine.activations import TokenPairs
from tests.helpers.tiny_models import VOCABULARY

FIRST_WORD = 5


def random_pairs(
    seed: int, *, n_pairs: int = 1, length: int = 9, first_difference: int = 3
) -> TokenPairs:
    """Pairs that share their tokens up to ``first_difference``, where all of them differ."""
    generator = torch.Generator().manual_seed(seed)

    def words(*shape: int) -> torch.Tensor:
        return torch.randint(FIRST_WORD, VOCABULARY, shape, generator=generator)

    clean = words(n_pairs, length)
    corrupted = clean.clone()
    corrupted[:, first_difference] = _another(clean[:, first_difference])
    # Any later token may differ as well.
    later = torch.rand(n_pairs, length, generator=generator) < 0.3
    later[:, : first_difference + 1] = False
    corrupted = torch.where(later, _another(clean), corrupted)
    answers = [torch.randperm(VOCABULARY, generator=generator)[:2].tolist() for _ in range(n_pairs)]
    return TokenPairs(
        clean,
        corrupted,
        tuple((correct,) for correct, _ in answers),
        tuple((incorrect,) for _, incorrect in answers),
        tuple(range(n_pairs)),
    )


def _another(tokens: torch.Tensor) -> torch.Tensor:
    return (tokens - FIRST_WORD + 7) % (VOCABULARY - FIRST_WORD) + FIRST_WORD
