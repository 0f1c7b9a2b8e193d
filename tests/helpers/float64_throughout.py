"""Tiny models in float64 that compute in float64 inside, too.

The norms and softmax of Llama-likes are computed in float32 whatever the format is, and round
otherwise in another batch. What is to hold to 1e-9 is tested on models without that.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.llama import modeling_llama

from counterpoint.engine.rounding import computed_eps
from counterpoint.models.load import LanguageModel, wrap
from tests.helpers.tiny_models import make_tiny_model


def float64_throughout(architecture: str, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """A tiny model whose own code is changed, until the test ends, to keep to float64."""
    softmax = torch.nn.functional.softmax

    def uncast(x: torch.Tensor, dim: Any = None, dtype: Any = None, **_: Any) -> torch.Tensor:
        return softmax(x, dim=dim)

    def llama_norm(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * (hidden * scale)

    def gemma_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)

    monkeypatch.setattr(torch.nn.functional, "softmax", uncast)
    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", llama_norm)
    monkeypatch.setattr(modeling_gemma2.Gemma2RMSNorm, "forward", gemma_norm)
    known = make_tiny_model(architecture, "float64")
    # What a model computes in is looked for once, and kept on it.
    model = wrap(copy.deepcopy(known.hf), known.tokenizer)
    assert computed_eps(model) == torch.finfo(torch.float64).eps
    return model
