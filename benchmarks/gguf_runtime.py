"""Logits of GGUF files by llama.cpp itself. Run with a Python of its own, which has the packages
`xllamacpp` (llama.cpp's library in a wheel), `llama-cpp-py-sync` (the C declarations of the same
version) and numpy, and nothing of this project.

    python gguf_runtime.py jobs.json results.npz

`jobs.json` holds under `logits` a list of {"name", "path", "ids", "context", "settings"}, and under
`blocks` the names of quantisations and files of their raw blocks (.npy, bytes). The archive holds,
by name, the logits [position, token] in float32, and under the quantisation's name the numbers that
ggml makes of its blocks. Keys and values are kept in float32, without flash attention, on one
thread.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp_py_sync._cffi_bindings import ffi

LIBRARY = next(Path(find_spec("xllamacpp").submodule_search_locations[0]).glob("*.so"))
lib = ffi.dlopen(str(LIBRARY))


def logits(path: str, ids: list[int], context: int, settings: dict[str, float]) -> Any:
    """Return the logits [position, token] of the file at `path` after each of `ids`."""
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    if model == ffi.NULL:
        raise SystemExit(f"error: llama.cpp cannot load {path}")
    asked = lib.llama_context_default_params()
    asked.n_ctx, asked.n_batch, asked.n_ubatch = context, context, context
    asked.n_threads, asked.n_threads_batch = 1, 1
    asked.type_k, asked.type_v, asked.flash_attn_type = 0, 0, 0
    for name, value in settings.items():
        setattr(asked, name, value)
    run = lib.llama_init_from_model(model, asked)
    if run == ffi.NULL:
        raise SystemExit(f"error: llama.cpp cannot run {path}")
    batch = lib.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for place, token in enumerate(ids):
        batch.token[place], batch.pos[place] = token, place
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        batch.logits[place] = 1
    if lib.llama_decode(run, batch):
        raise SystemExit(f"error: llama.cpp cannot compute {path}")
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    rows = [
        np.frombuffer(ffi.buffer(lib.llama_get_logits_ith(run, place), 4 * size), np.float32)
        for place in range(len(ids))
    ]
    result = np.array(rows)
    lib.llama_batch_free(batch)
    lib.llama_free(run)
    lib.llama_model_free(model)
    return result


def numbers(kind: str, blocks: Any) -> Any:
    """Return the float32 numbers that ggml makes of raw `blocks` of a quantisation."""
    names = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}
    stem, _, rest = kind.partition("_")
    lower = kind.lower() if rest != "K" else f"{stem.lower()}_K"
    name = names.get(kind, f"dequantize_row_{lower}")
    own = type(ffi)()
    own.cdef(f"void {name}(const void *, float *, int64_t); size_t ggml_row_size(int, int64_t);")
    count = blocks["count"]
    result = np.empty(count, dtype=np.float32)
    raw = np.ascontiguousarray(blocks["bytes"])
    library = own.dlopen(str(LIBRARY))
    getattr(library, name)(own.from_buffer(raw), own.from_buffer("float[]", result), count)
    return result


def main(jobs: str, target: str) -> None:
    """Compute all jobs; see the module's docstring."""

    @ffi.callback("void(enum ggml_log_level, const char *, void *)")
    def quiet(level: int, text: Any, data: Any) -> None:
        if level == 4:
            sys.stderr.write(ffi.string(text).decode())

    lib.llama_log_set(quiet, ffi.NULL)
    lib.llama_backend_init()
    listed = json.loads(Path(jobs).read_text(encoding="utf-8"))
    results = {
        job["name"]: logits(job["path"], job["ids"], job["context"], job["settings"])
        for job in listed["logits"]
    }
    for job in listed["blocks"]:
        blocks = {"count": job["count"], "bytes": np.load(job["path"])}
        results[job["name"]] = numbers(job["name"], blocks)
    np.savez(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
