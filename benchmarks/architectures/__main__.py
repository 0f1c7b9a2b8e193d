"""`make architectures`: the sweep, and the page that it makes (docs/architectures.md).

`python -m benchmarks.architectures NAME …` measures some rows anew, and makes the page of them and
of the last results of the others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.architectures.configurations import CODE_OF_THEIR_OWN, DECODERS, OTHERS
from benchmarks.architectures.page import write

SECONDS = 900
"""Longest time of one row."""

RESULTS = Path("results/architectures.json")


def main() -> None:
    """Measure the rows that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="rows to measure anew; all by default")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--quick", action="store_true", help="one first difference alone; no page is made"
    )
    chosen = parser.parse_args()
    # TransformerLens installs packages for some models, by itself; not here.
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    rows = [*DECODERS, *OTHERS, *CODE_OF_THEIR_OWN]
    if chosen.quick:
        for _ in _run(chosen.names or rows, chosen.cores, thorough=False):
            pass
        return
    adapters = _adapters()
    results = _kept() if chosen.names else {}
    for result in _run(chosen.names or rows, chosen.cores):
        _keep(results, result)
    missing = [name for name in rows if name not in results]
    if missing:
        print(f"{len(missing)} rows were never measured, so no page is made")
        return
    write([results[name] for name in rows], adapters)


def _kept() -> dict[str, dict[str, Any]]:
    """The last results, by row."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def _keep(results: dict[str, dict[str, Any]], result: dict[str, Any]) -> None:
    results[result["name"]] = result
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")


def _adapters() -> list[str]:
    """The architectures that TransformerLens has an adapter for; it is asked in a process alone."""
    code = (
        "from transformer_lens.factories.architecture_adapter_factory import"
        " SUPPORTED_ARCHITECTURES as known; print('\\n'.join(known))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _run(names: Iterable[str], cores: int, *, thorough: bool = True) -> Iterable[dict[str, Any]]:
    """Every row in a process of its own, ``cores`` at once, so that none can end the sweep."""
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401

    if thorough:
        import transformer_lens.model_bridge  # noqa: F401

    # What every process needs is imported once, before they part.

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    waiting, running = list(names)[::-1], []
    with tempfile.TemporaryDirectory() as work:
        while waiting or running:
            while waiting and len(running) < cores:
                name = waiting.pop()
                here, there = context.Pipe(duplex=False)
                folder = Path(work) / re.sub(r"\W+", "_", name)
                process = context.Process(target=_child, args=(name, folder, there, thorough))
                process.start()
                there.close()
                running.append((name, process, here, time.perf_counter()))
            for entry in list(running):
                name, process, here, since = entry
                late = time.perf_counter() - since > SECONDS
                if not here.poll(0.05) and process.is_alive() and not late:
                    continue
                result = _received(name, process, here, late)
                running.remove(entry)
                _say(result)
                yield result


def _received(name: str, process: Any, here: Any, late: bool) -> dict[str, Any]:
    try:
        result = here.recv() if here.poll() else None
    except EOFError:
        result = None
    process.kill() if late else process.join()
    if result is None:
        reason = f"took more than {SECONDS} s" if late else f"ended with {process.exitcode}"
        result = {"name": name, "architecture": "", "verdict": "traceback", "reason": reason}
        result |= {
            "mlp_verdict": "",
            "layers": "",
            "size": 0.0,
            "errors": {},
            "adapter": "",
            "seconds": 0.0,
        }
    return result


def _child(name: str, folder: Path, there: Any, thorough: bool) -> None:
    from transformers.utils import logging

    from benchmarks.architectures.measure import foreign, measure

    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  (libraries' remarks)
    row = DECODERS.get(name) or OTHERS.get(name)
    if row is None:
        there.send(foreign(name, CODE_OF_THEIR_OWN.get(name, name.lower()), folder))
    else:
        adapter = thorough and "text_config" not in row.extra
        there.send(measure(name, row, folder, thorough=thorough, adapter=adapter))


def _say(result: dict[str, Any]) -> None:
    errors = " ".join(f"{name} {error:.0e}" for name, error in result["errors"].items())
    print(
        f"{result['name']:36s} {result['verdict']:9s} MLP {result['mlp_verdict'][:90]:8s} {errors}"
        f" [{result['adapter']}]"
        f" (size {result['size']:.1f}, {result['seconds']:.0f} s) {result['reason'][:240]}",
        flush=True,
    )


if __name__ == "__main__":
    main()
