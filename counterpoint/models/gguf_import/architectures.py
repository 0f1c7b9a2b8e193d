"""The architectures of GGUF files that are read.

GGUF names few of an architecture's properties; the rest (the activation, what a norm adds, how
rows are ordered) is what llama.cpp computes for it (src/models/*.cpp) and what its converter does
to the tensors (conversion/*.py; both as in llama-cpp-python 0.3.36). Every architecture here is
compared with llama.cpp's logits by `make test-gguf` (docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from counterpoint.models.gguf_import import families, further
from counterpoint.models.gguf_import.plan import Architecture
from counterpoint.models.gguf_import.reading import GgufFile


def architecture_of(file: GgufFile) -> Architecture:
    """Return how `file` becomes a model of transformers.

    Raises UserError for an unknown architecture and for settings that transformers' model of it
    cannot have.
    """
    if file.architecture not in ARCHITECTURES:
        raise file.refuse(
            f"its architecture is {file.architecture!r}; GGUF files are read of "
            f"{', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[file.architecture](file)


ARCHITECTURES: Final[dict[str, Callable[[GgufFile], Architecture]]] = {
    "bloom": further.bloom,
    "command-r": further.cohere,
    "falcon": further.falcon,
    "gemma": families.gemma,
    "gemma2": families.gemma2,
    "gemma3": families.gemma3,
    "gpt2": further.gpt2,
    "gptneox": further.gpt_neox,
    "granite": families.granite,
    "llama": families.llama,
    "nemotron": further.nemotron,
    "olmo": further.olmo,
    "olmo2": further.olmo2,
    "phi2": further.phi2,
    "phi3": further.phi3,
    "qwen2": families.qwen2,
    "qwen2moe": families.qwen2,
    "qwen3": families.qwen3,
    "qwen3moe": families.qwen3,
    "smollm3": families.smollm3,
    "stablelm": further.stablelm,
    "starcoder2": further.starcoder2,
}
