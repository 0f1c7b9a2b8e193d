"""How long steps took where they were measured, as two numbers for each, and what follows from it.

A job takes a *start* (Python, its libraries, the model), and then grows with what it is given:

    seconds = start + slope · amount

For a step that runs the model the amount is the time that its operations (`operations.operations`,
of all its pairs and directions) would take at the machine's rate of matrix products, so that the
slope, a plain number, carries over to other models and machines; for a search the operations of its
evaluations; for tables it is their rows of heads or pairs. The numbers stand in `costs.json`, which
`python -m benchmarks.costs` makes from the records of studies that were run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

LEAST_START = 6.0
"""Seconds before a job can do anything with a model: Python, torch, transformers and half a
gigabyte of weights, on the machine that `costs.json` names."""

SHIPPED = Path(__file__).with_name("costs.json")


@dataclass(frozen=True)
class Record:
    """What all jobs of one rule took in one study: ``jobs``, their ``seconds`` together, and the
    ``amount`` that they were given together."""

    study: str
    rule: str
    jobs: int
    seconds: float
    amount: float


@dataclass(frozen=True)
class Cost:
    """Seconds of ``start`` of a job, and seconds for each unit of its amount."""

    start: float
    slope: float

    def seconds(self, jobs: int, amount: float) -> float:
        """Of ``jobs`` jobs together that are given ``amount`` together."""
        return jobs * self.start + self.slope * amount


def fit(records: Iterable[Record]) -> dict[str, Cost]:
    """Start and slope of each rule, not negative, by least squares of the relative errors.

    Records that all have one amount for each job cannot tell the two apart: of a job much longer
    than `LEAST_START` that is then taken for its start, and a shorter one is taken not to grow.
    """
    by_rule: dict[str, list[Record]] = {}
    for record in records:
        by_rule.setdefault(record.rule, []).append(record)
    return {rule: _fit(of_rule) for rule, of_rule in sorted(by_rule.items())}


def _fit(records: list[Record]) -> Cost:
    from scipy.optimize import nnls

    seconds = np.array([record.seconds for record in records])
    terms = np.array([[record.jobs, record.amount] for record in records], dtype=float)
    each = terms[:, 1] / terms[:, 0]
    if np.allclose(each, each[0]):
        job = float(seconds.sum() / terms[:, 0].sum())
        if not each[0] or job < 2 * LEAST_START:
            return Cost(job, 0.0)
        return Cost(LEAST_START, (job - LEAST_START) / float(each.mean()))
    (start, slope), _ = nnls(terms / seconds[:, None], np.ones(len(records)))
    return Cost(float(start), float(slope))


def read_costs(path: str | Path = SHIPPED) -> dict[str, Cost]:
    """The costs of a file that `as_json` made."""
    stored = json.loads(Path(path).read_text(encoding="utf-8"))
    return {rule: Cost(**cost) for rule, cost in stored["costs"].items()}


def as_json(
    costs: Mapping[str, Cost], records: Iterable[Record], where: Mapping[str, Any]
) -> dict[str, Any]:
    """What `costs.json` holds: the costs, the records they come from and ``where`` these were
    measured."""
    return {
        **where,
        "costs": {rule: asdict(cost) for rule, cost in costs.items()},
        "records": [asdict(record) for record in records],
    }
