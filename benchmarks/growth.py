"""Whether a study of many pairs takes more memory than one of few: `python -m benchmarks.growth`.

The same study of a small random model is made by Snakemake with 64 and with 1,024 pairs, in shards
of 64, and the peak memory of every rule's jobs read from the benchmark files. The table goes into
`docs/scale.md`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.counterfactuals import filled
from counterpoint.files.artifacts import write_text
from counterpoint.workflow import provenance
from tests.helpers import small_study

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"

NAMES = ("John", "Mary")
THINGS = ("book", "cup")


def write_pairs(path: Path, count: int) -> None:
    """As many different pairs, of words that the small model's tokenizer knows."""
    joined = ("met ,", "left ,", "sat and", "met and", "left and", "sat ,")
    begins, sizes = ("When", "Then"), ("a", "a big", "a big big", "a a")
    words = (" to", " and", " ,")
    ends = ["".join(some) for few in range(3) for some in itertools.product(words, repeat=few)]
    places = itertools.product(begins, NAMES, joined, sizes, THINGS, ends)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clean", "corrupted", "correct", "incorrect"])
        for begin, giver, how, size, thing, end in itertools.islice(places, count):
            other = NAMES[1 - NAMES.index(giver)]
            text = f"{begin} John and Mary {how} {{}} gave {size} {thing}{end} to"
            writer.writerow([text.format(giver), text.format(other), f" {other}", f" {giver}"])


def configuration(pairs: str) -> dict[str, Any]:
    """The small study, measured as the default study is, without searches."""
    config = small_study.configuration()
    study = config["studies"]["small"]
    study |= {"pairs": pairs, "shard_size": 64, "statistics": {}}
    study["counterfactuals"] = {"targets": []}
    return config


def peaks(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Run the study with so many pairs; jobs, seconds and peak memory per rule."""
    small_study.prepare(folder)
    write_pairs(folder / "many.csv", count)
    small_study.write_configuration(folder, configuration("many.csv"))
    done = small_study.snakemake(folder)
    if done.returncode != 0:
        raise SystemExit(done.stdout)
    return provenance.durations(folder / "results" / "small" / "benchmarks")


def table(few: int, many: int) -> str:
    """Both studies side by side, in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (peaks(Path(folder) / str(count), count) for count in (few, many))
    lines = [
        f"| rule | jobs | peak memory, MB: {few:,} pairs | {many:,} pairs | times as much |",
        "|---|---:|---:|---:|---:|",
    ]
    for rule, after in sorted(other.items(), key=lambda entry: -entry[1]["memory_mb"]):
        before = one[rule]
        if before["memory_mb"] == 0 or after["memory_mb"] == 0:
            continue
        jobs = f"{before['jobs']:.0f} and {after['jobs']:.0f}"
        mb = before["memory_mb"], after["memory_mb"]
        lines.append(f"| `{rule}` | {jobs} | {mb[0]:,.0f} | {mb[1]:,.0f} | {mb[1] / mb[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and put the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--pairs", type=int, nargs=2, default=(64, 1024))
    found = table(*parser.parse_args().pairs)
    print(found)
    write_text(filled(PAGE.read_text(encoding="utf-8"), found, BEGIN, END), PAGE)


if __name__ == "__main__":
    main()
