"""`make compare`: what the workflow measured of the methods of searching, as one record per run.

Reads `results/{study}/methods/`; writes `benchmarks/counterfactuals.json`, the tables in
`docs/lab/methods-compared.md` and the figure beside it. The machine's rate is measured here, when
no job runs.

With ``--keep`` methods that were not run keep their runs of the record that is there, which then
says when and where those were made: when one method has changed, the others need not be run again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks import machine
from counterpoint.counterfactuals.comparison.method_comparison import (
    as_markdown,
    best_runs_as_markdown,
    summarise,
)
from counterpoint.counterfactuals.comparison.search_outcomes import typed
from counterpoint.figures.method_figures import draw_methods
from counterpoint.figures.theme import save_figure
from counterpoint.files.artifacts import read_table, write_json, write_text
from counterpoint.workflow import provenance
from counterpoint.workflow.planning.matrix_rate import matrix_product_rates

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lab" / "methods-compared.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def records(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of `methods.parquet` as plain JSON values; what is missing or infinite is null."""

    def plain(value: Any) -> Any:
        if (
            value is None
            or value is pd.NA
            or (isinstance(value, float) and not math.isfinite(value))
        ):
            return None
        return value

    return [{name: plain(value) for name, value in row.items()} for row in runs.to_dict("records")]


def filled(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with ``text`` at its marked place. Raises ValueError when it has none."""
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def rates() -> dict[str, dict[str, float]]:
    """Matrix-product rates with one thread, which a search has, and with all."""
    threads = torch.get_num_threads()
    found = {}
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        found[str(count)] = matrix_product_rates()
    return found


def kept(record: dict[str, Any], methods: set[str]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The runs of a record but for those of ``methods``, and where they were made."""
    places = ("date", "machine", "commit", "matrix_product_rates_by_threads", "packages")
    earlier = record.get("earlier", [])
    before = {name for one in earlier for name in one["methods"]}
    own = {run["method"] for run in record["runs"]} - before
    made = [*earlier, {"methods": sorted(own), **{name: record[name] for name in places}}]
    made = [{**one, "methods": sorted(set(one["methods"]) - methods)} for one in made]
    runs = typed([run for run in record["runs"] if run["method"] not in methods])
    return runs, [one for one in made if one["methods"]]


def collect(
    runs: pd.DataFrame,
    study: str,
    settings: dict[str, Any],
    earlier: list[dict[str, Any]],
) -> dict[str, Any]:
    """Everything that `counterfactuals.json` holds; ``earlier`` says of which methods the runs are
    older ones."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine.describe(),
        "threads_of_a_search": 1,
        "matrix_product_rates_by_threads": rates(),
        "commit": provenance.git_commit(ROOT),
        "packages": provenance.packages(),
        "study": study,
        "settings": settings,
        "earlier": earlier,
        "runs": records(runs),
    }


def main() -> None:
    """Write the records, the tables and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counterfactuals")
    parser.add_argument("--study", default="methods")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    folder = ROOT / "results" / arguments.study / "methods"
    runs = read_table(folder / "methods.parquet")
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    record = ROOT / "benchmarks" / "counterfactuals.json"
    earlier: list[dict[str, Any]] = []
    if arguments.keep:
        others, earlier = kept(json.loads(record.read_text(encoding="utf-8")), set(runs["method"]))
        runs = pd.concat([runs, others], ignore_index=True)
    summary = summarise(runs)
    found = collect(runs, arguments.study, settings, earlier)
    write_json(found, record)
    tables = "\n\n".join(
        [
            as_markdown(summary),
            *(
                best_runs_as_markdown(runs, method)
                for method in settings["counterfactuals"]["in_depth"]
            ),
        ]
    )
    budget = settings["counterfactuals"]["budget"]["evaluations"]
    words = (
        f"Measured by `make compare` on {found['date']}: {found['machine']}; a search has one "
        f"thread and {budget} model evaluations."
    )
    for one in earlier:
        names = ", ".join(f"`{name}`" for name in one["methods"])
        words += f" The runs of {names} are kept from {one['date']} ({one['machine']})."
    figure = "![the methods, head by head](methods-compared.svg)"
    page = PAGE.read_text(encoding="utf-8")
    write_text(filled(page, f"{words}\n\n{tables}\n\n{figure}"), PAGE)
    with tempfile.TemporaryDirectory() as drawn:
        svg, _ = save_figure(draw_methods(summary)["methods"], drawn, "methods")
        write_text(svg.read_text(encoding="utf-8"), PAGE.with_suffix(".svg"))
    print(tables)


if __name__ == "__main__":
    main()
