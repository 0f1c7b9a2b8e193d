"""Peak memory of a whole shard: `python -m benchmarks.memory --pairs 64`.

Runs in a process of its own, so that the peak is the shard's. The pairs are the first of the
shipped IOI set; one direction, activations and output curves (the step that needs most), as jobs of
the workflow make them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from counterpoint.files.artifacts import write_tensors
from counterpoint.measures.tables.curve_table import score_curves
from counterpoint.measures.tables.shards import Measurement, cache_shard
from counterpoint.models.load import load_language_model
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs

PAIRS = Path(__file__).parent.parent / "resources" / "pairs" / "ioi.csv"


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--model", default="resources/models/smollm2-135m-instruct")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--memory-mb", type=int, default=2000)
    arguments = parser.parse_args()
    model = load_language_model(arguments.model)
    pairs, _ = validate_pairs(
        read_pairs(PAIRS), model.tokenizer, max_pairs=arguments.pairs, source=str(PAIRS)
    )
    measurement = Measurement(directions=("noising",), memory_mb=arguments.memory_mb)
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "activations.safetensors"
        activations, _ = cache_shard(model, pairs, measurement.metric)
        write_tensors(activations, shard)
        del activations
        start = time.perf_counter()
        score_curves(model, shard, measurement)
        seconds = time.perf_counter() - start
    buckets = len(pairs.groupby(["length", "first_difference"]))
    print(
        json.dumps(
            {
                "pairs": len(pairs),
                "buckets": buckets,
                "peak_mib": machine.peak_mb(),
                "curve_seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
