"""The pair of the original notebook, on which everything is compared."""

from __future__ import annotations

import torch

from counterpoint.engine.activations import TokenPairs
from counterpoint.models.load import LanguageModel

CLEAN = "After John and Mary went to the store, Mary gave a bottle of milk to"
CORRUPTED = "After John and Mary went to the store, John gave a bottle of milk to"
ANSWERS = " John", " Mary"


def notebook_pair(model: LanguageModel, repeat: int = 0) -> TokenPairs:
    """The original notebook's pair; ``repeat`` puts as many more sentences of the same kind before
    it."""
    before = "Nobody else had been there that day, as far as they could tell. " * repeat
    correct, incorrect = (
        model.tokenizer.encode(text, add_special_tokens=False) for text in ANSWERS
    )
    return TokenPairs(
        torch.tensor([model.encode(before + CLEAN)]),
        torch.tensor([model.encode(before + CORRUPTED)]),
        (tuple(correct),),
        (tuple(incorrect),),
        (0,),
    )
