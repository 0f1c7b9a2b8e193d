"""What a search keeps on disk, so that one that was interrupted is resumed.

A checkpoint is written between two steps and changes nothing in the search, so that a search that
was interrupted ends as one that was not. It is one safetensors file, plain values as JSON in its
header, and is used only under the key it was written with: a digest of all that the search depends
on. Beside the key stands a digest of the content; a file that does not have it, or cannot be read,
is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.problem import State
from counterpoint.files.artifacts import read_tensors, write_tensors

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 10.0


class Checkpoints:
    """The file of one search; ``depends``, of plain values, is what the search depends on."""

    def __init__(
        self, path: Path, depends: object = None, seconds: float = SECONDS_BETWEEN
    ) -> None:
        self.path, self.seconds = path, seconds
        self._key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
        self._last = time.monotonic()

    @classmethod
    def beside(cls, output: str, depends: object) -> Checkpoints:
        """Of the job that makes ``output``.

        Snakemake removes the outputs of a job that failed; this file stays.
        """
        return cls(Path(output).with_suffix(".checkpoint.safetensors"), depends)

    def kept(self) -> State | None:
        """The state to continue from; None where there is none of such a search."""
        if not os.path.lexists(self.path):
            return None
        try:
            key, digest, text, tensors = self._read()
        except Exception as error:
            # Whatever a damaged file makes of its reader; the search only begins anew.
            if isinstance(error, MemoryError):
                raise
            log.warning("%s cannot be read (%s): the search begins anew", self.path, error)
            return None
        if digest != _digest(key, text, tensors):
            log.warning("%s is damaged, by its checksum: the search begins anew", self.path)
            return None
        if key != self._key:
            log.info("%s is of another search, and not used", self.path.name)
            return None
        log.info("resuming from %s", self.path.name)
        return {**json.loads(text), "tensors": tensors}

    def _read(self) -> tuple[str, str, str, dict[str, torch.Tensor]]:
        """Key, digest, plain values as JSON, and tensors."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            header = file.metadata()
        return header["key"], header["sha256"], header["state"], read_tensors(self.path)

    def keep(self, state: Callable[[], State]) -> None:
        """Write what ``state`` gives, unless that was done a moment ago."""
        if time.monotonic() - self._last < self.seconds:
            return
        values = state()
        tensors = values.pop("tensors", {})
        text = json.dumps(values)
        header = {"key": self._key, "sha256": _digest(self._key, text, tensors), "state": text}
        write_tensors(tensors, self.path, header)
        self._last = time.monotonic()

    def remove(self) -> None:
        """The search has ended."""
        self.path.unlink(missing_ok=True)


def _digest(key: str, text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of all that a checkpoint holds."""
    whole = hashlib.sha256(f"{key}\0{text}\0".encode())
    for name, tensor in sorted(tensors.items()):
        content = tensor.detach().cpu().contiguous()
        whole.update(f"{name}\0{content.dtype}\0{list(content.shape)}\0".encode())
        whole.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def run_state(evaluator: Evaluator, generator: torch.Generator) -> State:
    """What every search has: its ledger, its generator and the prefixes it need not run again."""
    ledger = evaluator.ledger
    return {
        "evaluations": ledger.evaluations,
        "seconds": ledger.seconds,
        "refused": dict(ledger.refused),
        "generator": generator.get_state().tolist(),
        "prefixes": evaluator.prefixes(),
    }


def restore_run(state: State, evaluator: Evaluator, generator: torch.Generator) -> None:
    """Continue from what `run_state` gave."""
    evaluator.restore_prefixes(state["prefixes"])
    evaluator.ledger.resume(state["evaluations"], state["seconds"], state["refused"])
    generator.set_state(torch.tensor(state["generator"], dtype=torch.uint8))
