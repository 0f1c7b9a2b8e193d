"""TransformerLens' view of a model that is loaded: its bridge, around the same modules."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

from counterpoint.models.no_subprocesses import sealed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def bridge(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TransformerBridge:
    """TransformerLens' view of ``hf``, whose modules it wraps in place.

    It gets a copy of the ``tokenizer``, since it names tokens in it that the tokenizer lacks (the
    beginning of a sequence becomes its end), and no means to install what a model may want.
    """
    from transformer_lens.model_bridge import TransformerBridge

    parameter = next(hf.parameters())
    # TransformerLens speaks through the root logger about choices that are not the user's here.
    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    with sealed():
        return TransformerBridge.boot_transformers(
            hf.config.name_or_path or "local",
            hf_model=hf,
            tokenizer=copy.deepcopy(tokenizer),
            device=str(parameter.device),
            dtype=parameter.dtype,
        )
