"""`make atlas`: what the search for an atlas found, beside its baseline at as many evaluations.

Reads `results/{study}/atlas.parquet`, `results/{study}/atlas/likely_swaps.parquet` and Snakemake's
measurements of the jobs; writes `benchmarks/atlas.json`. The machine's rate is measured here, when
no job runs.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.counterfactuals import rates
from counterpoint.counterfactuals.atlas.atlas_classes import atlas_class
from counterpoint.files.artifacts import read_table, write_json
from counterpoint.workflow import provenance

ROOT = Path(__file__).parent.parent
TABLES = {"niches": "atlas.parquet", "likely_swaps": "atlas/likely_swaps.parquet"}


def counts(atlas: pd.DataFrame) -> dict[str, int]:
    """Heads in all, and heads with what was reached for them or better."""
    classes = atlas_class(atlas)
    return {
        "heads": len(atlas),
        "first_fluent_well_ahead": int((classes == "clear").sum()),
        "first_fluent": int(classes.isin(["clear", "fluent"]).sum()),
        "first": int(classes.isin(["clear", "fluent", "first"]).sum()),
        "a_pair": int((classes != "none").sum()),
    }


def seconds(study: Path, way: str) -> dict[str, list[float]]:
    """Wall time of each job, by rule."""
    return {
        rule: [
            float(pd.read_csv(path, sep="\t")["s"].iloc[0])
            for path in sorted((study / "benchmarks" / rule).glob(f"{way}.*.tsv"))
        ]
        for rule in ("search_atlas", "verify_atlas")
    }


def record(study: Path) -> dict[str, Any]:
    """Everything that is known of both ways."""
    found: dict[str, Any] = {}
    for way, name in TABLES.items():
        atlas = read_table(study / name)
        spent = [
            int(read_table(path)["evaluations"].max())
            for path in sorted((study / "atlas" / way / "searches").glob("*.trace.parquet"))
        ]
        found[way] = {
            **counts(atlas),
            "median_ld_change": float(atlas["ld_change"].median()),
            "median_margin": float(atlas["margin"].median()),
            "evaluations": spent,
            "seconds": seconds(study, way),
        }
    return found


def main() -> None:
    """Write `benchmarks/atlas.json` and print what was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="atlas", help="the study's name")
    study = ROOT / "results" / parser.parse_args().study
    made = {
        "date": datetime.date.today().isoformat(),
        "packages": provenance.packages(),
        "rates": rates(),
        "ways": record(study),
    }
    write_json(made, ROOT / "benchmarks" / "atlas.json")
    for way, of_way in made["ways"].items():
        print(
            f"{way}: {of_way['first_fluent']} of {of_way['heads']} heads first on a fluent pair"
            f" with LD change 0.5, {of_way['first_fluent_well_ahead']} well ahead with 1;"
            f" {sum(of_way['evaluations']):,} evaluations"
        )


if __name__ == "__main__":
    main()
