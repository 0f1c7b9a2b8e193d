"""How long Snakemake takes to plan a study of very many jobs: `python -m benchmarks.planning`.

The small study with a shard for every pair: how long it takes to build its graph of jobs, as every
start does (`--rulegraph`, which then prints the rules alone), and a dry run, which lists every job
besides. 10,000 shards should be planned within two minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.growth import configuration, write_pairs
from counterpoint.workflow.planning.matrix_rate import best_rate
from tests.helpers import small_study


def planned(folder: Path, shards: int) -> dict[str, Any]:
    """Number of jobs, and what building their graph and a dry run took."""
    small_study.prepare(folder)
    write_pairs(folder / "few.csv", 1)
    head, pair = (folder / "few.csv").read_text(encoding="utf-8").splitlines()
    (folder / "many.csv").write_text("\n".join([head, *[pair] * shards, ""]), encoding="utf-8")
    config = configuration("many.csv")
    config["studies"]["small"]["shard_size"] = 1
    small_study.write_configuration(folder, config)
    _, building = taken(folder, "--rulegraph")
    said, dry_run = taken(folder, "--dry-run", "--quiet", "all")
    jobs = re.findall(r"^total\s+(\d+)", said, re.MULTILINE)[-1]
    return {"shards": shards, "jobs": int(jobs), "building": building, "dry_run": dry_run}


def taken(folder: Path, *arguments: str) -> tuple[str, dict[str, float]]:
    """What Snakemake says, its seconds by the clock and of the processor, and its peak memory (or
    that of a greater one before it)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = small_study.snakemake(folder, "all", *arguments)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(done.stdout[-2000:])
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_mb": round(after.ru_maxrss / 1024),
    }


def main() -> None:
    """Measure and print a line of JSON for each number of shards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000, 10000])
    for shards in parser.parse_args().shards:
        with tempfile.TemporaryDirectory() as folder:
            found = planned(Path(folder), shards)
        print(json.dumps({**found, "matrix_product_rate_of_one_thread": best_rate(1)}), flush=True)


if __name__ == "__main__":
    main()
