"""The architectures of GGUF files that are read.

GGUF names few of an architecture's properties; the rest (the activation, what a norm adds, how
rows are ordered) is what llama.cpp computes for it (src/models/*.cpp) and what its converter does
to the tensors (conversion/*.py; both as in llama-cpp-python 0.3.36). Every architecture here is
compared with llama.cpp's logits by `make test-gguf` (docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from counterpoint.models.gguf import llama_families, other_families
from counterpoint.models.gguf.reading import GgufFile
from counterpoint.models.gguf.translation import Architecture


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
    "bloom": other_families.bloom,
    "command-r": other_families.cohere,
    "falcon": other_families.falcon,
    "gemma": llama_families.gemma,
    "gemma2": llama_families.gemma2,
    "gemma3": llama_families.gemma3,
    "gpt2": other_families.gpt2,
    "gptneox": other_families.gpt_neox,
    "granite": llama_families.granite,
    "llama": llama_families.llama,
    "nemotron": other_families.nemotron,
    "olmo": other_families.olmo,
    "olmo2": other_families.olmo2,
    "phi2": other_families.phi2,
    "phi3": other_families.phi3,
    "qwen2": llama_families.qwen2,
    "qwen2moe": llama_families.qwen2,
    "qwen3": llama_families.qwen3,
    "qwen3moe": llama_families.qwen3,
    "smollm3": llama_families.smollm3,
    "stablelm": other_families.stablelm,
    "starcoder2": other_families.starcoder2,
}
