"""Which class of transformers makes a language model of a configuration.

A model that reads images or sound besides text is built whole, since its checkpoint names the
tensors of its text part by their place in it; given text alone, it runs that part alone. Where the
whole needs a package that is not installed (Gemma 3n's eyes need timm), the text part is built by
itself if transformers can take it out of the checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


WHOLE = {"emu3"}
"""Kinds that transformers also knows by their text part alone, but without finding that part in a
checkpoint of the whole; it does for all others (Llama 4, Qwen 3.5 …)."""


def automatic_class(model_type: str) -> Any:
    """The automatic class that knows ``model_type`` as a model that continues a text, or None."""
    from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM, AutoModelForSeq2SeqLM
    from transformers.models.auto import modeling_auto as auto

    # Models of sound stand among those that translate; encoder-decoders are refused beforehand.
    kinds = (
        (AutoModelForCausalLM, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        (AutoModelForMultimodalLM, auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES),
        (AutoModelForSeq2SeqLM, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
    )
    if model_type in WHOLE:
        return AutoModelForMultimodalLM
    return next((kind for kind, known in kinds if model_type in known), None)


def language_part(configuration: PreTrainedConfig) -> tuple[Any, PreTrainedConfig]:
    """The automatic class for a folder's ``configuration``, and the one to build it with.

    Raises what transformers raises where neither the whole nor its text part can be built.
    """
    import torch

    kind = automatic_class(configuration.model_type)
    text = configuration.get_text_config(decoder=True)
    if text is configuration:
        return kind, configuration
    try:
        with torch.device("meta"):
            kind.from_config(configuration, attn_implementation="eager")
    except ImportError:
        if automatic_class(text.model_type) is None:
            raise
        return automatic_class(text.model_type), text
    return kind, configuration
