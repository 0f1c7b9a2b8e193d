"""Imported GGUF files against llama.cpp: `make test-gguf`.

    python -m benchmarks.gguf_comparison PYTHON_OF_THE_RUNTIME

writes the table of docs/gguf.md and the logits that the tests keep, and fails where an error is
beyond its tolerance.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from transformers import AutoModelForCausalLM

from counterpoint.models.gguf.reading import UNREADABLE
from tests.helpers import gguf_reference, tiny_gguf
from tests.helpers.gguf_reference import (
    GELU_TOLERANCE,
    TOLERANCE,
    errors,
    imported,
    logits,
    with_table_gelu,
)

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "gguf.md"
BEGIN, END = "<!-- made by `make test-gguf` -->", "<!-- end -->"


def main(runtime: str) -> int:
    """Compare every kind; return 1 where one differs by more than its tolerance, else 0."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = _run(runtime, folder)
        rows, kept = [], {}
        for kind in tiny_gguf.KINDS.values():
            rows.append(_compare(kind, folder, expected))
            logits_there = expected[_plain(kind)]
            kept[kind.name] = {
                "logits": gguf_reference.kept(logits_there),
                "spread": float(f"{logits_there.std():.6g}"),
                "half": bool(rows[-1]["half"]),
            }
            print(f"{kind.name:34} {rows[-1]['largest']:.1e}", flush=True)
    text = json.dumps(kept, separators=(",", ":")).replace('},"', '},\n"')
    gguf_reference.KEPT.write_text(text + "\n", encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    head, rest = document.split(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{_table(rows)}{END}{rest.split(END)[1]}", encoding="utf-8")
    wrong = [row["name"] for row in rows if _is_wrong(row)]
    print(f"{len(rows)} files compared; beyond the tolerance: {', '.join(wrong) or 'none'}")
    return int(bool(wrong))


def _is_wrong(row: dict[str, Any]) -> bool:
    allowed = GELU_TOLERANCE if row["half"] else TOLERANCE
    return row["largest"] > allowed or row["median"] > TOLERANCE or row["bits"] == "no"


def _plain(kind: tiny_gguf.Kind) -> str:
    """Name of the job whose arithmetic is float32."""
    return kind.name if kind.stored == Type.F32 else f"{kind.name}, plain"


def _run(runtime: str, folder: Path) -> dict[str, Any]:
    """Write all files and have llama.cpp compute them."""
    jobs: dict[str, list[dict[str, Any]]] = {"logits": [], "blocks": []}
    for number, kind in enumerate(tiny_gguf.KINDS.values()):
        for name in {kind.name, _plain(kind)}:
            path = folder / f"{number}{'' if name == kind.name else '-plain'}.gguf"
            tiny_gguf.write(kind, path, plain=name != kind.name)
            jobs["logits"].append(
                {
                    "name": name,
                    "path": str(path),
                    "ids": tiny_gguf.prompt(kind),
                    "context": 128,
                    "settings": dict(kind.runtime),
                }
            )
        if kind.stored != Type.F32:
            values = tiny_gguf.weights_of(kind)["blk.0.attn_q.weight"]
            blocks, _ = tiny_gguf.packed(kind, "blk.0.attn_q.weight", values)
            np.save(folder / f"{kind.stored.name}.npy", blocks.view(np.uint8))
            jobs["blocks"].append(
                {
                    "name": kind.stored.name,
                    "path": str(folder / f"{kind.stored.name}.npy"),
                    "count": values.size,
                }
            )
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("gguf_runtime.py")
    command = [runtime, str(script), str(folder / "jobs.json"), str(folder / "results.npz")]
    subprocess.run(command, check=True)
    return dict(np.load(folder / "results.npz"))


def _compare(kind: tiny_gguf.Kind, folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    path = folder / "compared.gguf"
    model = imported(tiny_gguf.write(kind, path), folder / "model")
    spread = float(expected[_plain(kind)].std())
    found = logits(model, kind)
    row: dict[str, Any] = {"name": kind.name, "rope": _rope(model.config), "half": "", "bits": ""}
    row["file"] = errors(found, expected[kind.name], spread).max()
    if with_table_gelu(model):
        row["half"] = f"{row['file']:.1e}"
        found = logits(model, kind)
    if kind.stored == Type.F32:
        row["transformers"] = _by_transformers(kind, folder, expected[kind.name], spread)
    row["largest"] = errors(found, expected[_plain(kind)], spread).max()
    row["median"] = np.median(errors(found, expected[_plain(kind)], spread))
    if kind.stored != Type.F32:
        values = tiny_gguf.weights_of(kind)["blk.0.attn_q.weight"]
        blocks, _ = tiny_gguf.packed(kind, "blk.0.attn_q.weight", values)
        own = gguf.dequantize(blocks, kind.stored).reshape(-1)
        row["bits"] = "yes" if np.array_equal(own, expected[kind.stored.name]) else "no"
    return row


def _by_transformers(kind: tiny_gguf.Kind, folder: Path, expected: Any, spread: float) -> str:
    """Return the largest error of transformers' own importer, or that it refuses the file."""
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file="compared.gguf", dtype=torch.float32, attn_implementation="eager"
        )
        return f"{errors(logits(model.eval(), kind), expected, spread).max():.0e}"
    except (*UNREADABLE, AssertionError):
        return "fails"


def _rope(config: Any) -> str:
    parameters = getattr(config, "rope_parameters", None)
    if not parameters:
        return ""
    if "full_attention" in parameters:
        parameters = parameters["full_attention"]
    return str(parameters["rope_type"])


def _table(rows: list[dict[str, Any]]) -> str:
    plain = "\n".join(
        f"| {row['name']} | {row['rope']} | {row['median']:.1e} | {row['largest']:.1e} | "
        f"{row['half']} | {row['transformers']} |"
        for row in rows
        if not row["bits"]
    )
    quantised = "\n".join(
        f"| {row['name'].split()[-1]} | {row['bits']} | {row['largest']:.1e} | {row['file']:.1e} |"
        for row in rows
        if row["bits"]
    )
    return f"""
| file | rotary kind in transformers | median | largest | largest, GELU in float32 here | \
largest, transformers' importer |
|---|---|---|---|---|---|
{plain}

| quantisation | ggml's numbers, bit by bit | largest, same numbers in float32 there | \
largest, quantised products there |
|---|---|---|---|
{quantised}

"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
