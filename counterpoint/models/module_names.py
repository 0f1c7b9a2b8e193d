"""Which modules of a Hugging Face model are its blocks, attentions and MLPs: their names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockNames:
    """Dotted names within one block; None where the block has no such part."""

    attention: str | None
    """The module whose heads are measured; None for a block without attention (Mamba,
    convolution, linear attention)."""
    output_projection: str | None
    """Within the attention module."""
    mlp: str | None
    """None where the MLP's layers stand in the block itself (OPT), or there is none."""


@dataclass(frozen=True)
class ModuleNames:
    """Dotted names, as the Hugging Face model has them, of the modules that are read or shifted."""

    blocks: str
    """The `nn.ModuleList` of all blocks."""
    embedding: str
    layers: tuple[BlockNames, ...]
    """One for each block."""
