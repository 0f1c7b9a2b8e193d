"""What llama.cpp computes from the files of `tiny_gguf`, and what is computed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.models.bloom.modeling_bloom import BloomGelu

from counterpoint.models.gguf.importer import model_of
from counterpoint.models.gguf.reading import read_gguf
from tests.helpers import tiny_gguf

KEPT: Final = Path(__file__).with_name("gguf_logits.json")
POSITIONS: Final = (9, 40, 70, 99)
N_TOKENS: Final = 12
"""Logits that are kept: of the first tokens, after four of the prompt's."""

TOLERANCE: Final = 5e-5
"""Largest difference of logits over their standard deviation. Both sides compute in float32, in
another order; the largest found is 2e-5 (docs/gguf.md)."""
GELU_TOLERANCE: Final = 2e-3
"""The same with llama.cpp's GELU, where a difference of 1e-7 may round an activation the other way
at half precision. Then the median over positions stays below TOLERANCE."""


class TableGELU(nn.Module):
    """llama.cpp's GELU on a CPU: a table of the tanh form at all numbers of half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return GELU of `x`, of any shape, rounded to half precision before and after."""
        rounded = nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, rounded))


def with_table_gelu(model: PreTrainedModel) -> bool:
    """Put llama.cpp's GELU into `model`; say whether it has any."""
    found = False
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, GELUTanh | NewGELUActivation | BloomGelu):
                setattr(module, name, TableGELU())
                found = True
    return found


def imported(path: Path, folder: Path) -> PreTrainedModel:
    """Import the GGUF file at `path`, save it into `folder` and load it from there."""
    model, _ = model_of(read_gguf(path, path.name))
    model.save_pretrained(folder)
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return loaded.eval()


@torch.no_grad()
def logits(model: PreTrainedModel, kind: tiny_gguf.Kind) -> npt.NDArray[np.float32]:
    """Return the logits [position, token] of the kind's prompt."""
    found: Any = model(torch.tensor([tiny_gguf.prompt(kind)])).logits[0].numpy()
    return np.asarray(found, dtype=np.float32)


def kept(values: npt.NDArray[np.float32]) -> list[list[float]]:
    """Return the part of logits [position, token] that is kept."""
    part = values[list(POSITIONS), :N_TOKENS]
    return [[float(f"{value:.6g}") for value in row] for row in part]


def errors(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], spread: float
) -> npt.NDArray[np.float64]:
    """Return the largest difference over `spread` (the standard deviation), for each position."""
    return np.asarray(np.abs(found - expected).max(axis=1) / spread, dtype=np.float64)


def read_kept() -> dict[str, Any]:
    """Return what `make test-gguf` kept of llama.cpp's logits, by the name of the kind."""
    return dict(json.loads(KEPT.read_text(encoding="utf-8")))
