"""Logits of GGUF files by llama.cpp itself. Run with a Python of its own, which has the package
`llama-cpp-py-sync` (llama.cpp's library in a wheel) and numpy, and nothing of this project.

    python gguf_runtime.py jobs.json logits.npz

`jobs.json` is a list of {"name", "path", "ids", "context"}; the archive then holds, by name, the
logits [position, token] of the prompt in float32. Keys and values are kept in float32, without
flash attention, on one thread.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from llama_cpp_py_sync import __llama_cpp_tag__
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib


def logits(path: str, ids: list[int], context: int) -> Any:
    """Return the logits [position, token] of the file at `path` after each of `ids`."""
    ffi, lib = get_ffi(), get_lib()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    if model == ffi.NULL:
        raise SystemExit(f"error: llama.cpp cannot load {path}")
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = context, context, context
    settings.n_threads, settings.n_threads_batch = 1, 1
    settings.type_k, settings.type_v, settings.flash_attn_type = 0, 0, 0
    run = lib.llama_init_from_model(model, settings)
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


def main(jobs: str, target: str) -> None:
    """Compute all jobs; see the module's docstring."""
    ffi, lib = get_ffi(), get_lib()

    @ffi.callback("void(enum ggml_log_level, const char *, void *)")
    def quiet(level: int, text: Any, data: Any) -> None:
        if level >= 4:
            sys.stderr.write(ffi.string(text).decode())

    lib.llama_log_set(quiet, ffi.NULL)
    lib.llama_backend_init()
    with open(jobs, encoding="utf-8") as stream:
        listed = json.load(stream)
    results = {job["name"]: logits(job["path"], job["ids"], job["context"]) for job in listed}
    np.savez(target, __runtime__=np.array(__llama_cpp_tag__), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
