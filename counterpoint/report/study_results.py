"""The files of a study, read for its report: tables and settings only, no model and no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoint.counterfactuals.head_ranks import ranks_on_other_pairs
from counterpoint.errors import UserError
from counterpoint.figures.chosen_heads import mean_over_pairs
from counterpoint.files.artifacts import read_table
from counterpoint.glossary.metric_words import (
    MetricWords,
    measured_metric,
    metric_words,
    of_whole_answers,
)
from counterpoint.measures.pattern_arrays import AttentionPatterns, read_patterns
from counterpoint.models.beginning_token import BOTH, WITHOUT
from counterpoint.pairs.doubtful_pairs import doubtful_answers
from counterpoint.pairs.pair_files import ANSWER_COLUMNS
from counterpoint.report import current_files
from counterpoint.report.prompt_tokens import Tokens
from counterpoint.statistics.panel import directions, floor_of, template_names
from counterpoint.statistics.resampling import Settings
from counterpoint.statistics.stability import ranking
from counterpoint.statistics.templates import drawn_whole, with_templates

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Generated:
    """What was composed for one target head.

    Attributes:
        layer, head: the target.
        methods: the archive of each method, by its name.
        validation: the exact check of the final pairs, all methods; None before validation.
        traces: progress of each method's search, by its name, where it was kept.
    """

    layer: int
    head: int
    methods: Mapping[str, pd.DataFrame]
    validation: pd.DataFrame | None
    traces: Mapping[str, pd.DataFrame]

    @property
    def name(self) -> str:
        """The head as "layer.head"."""
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True)
class Circuits:
    """The circuits of a study, of nodes or of edges."""

    members: pd.DataFrame
    """`circuit.parquet`, `circuit_edges.parquet`"""
    curves: pd.DataFrame
    """`circuit_curves.csv`, `circuit_edge_curves.csv`"""
    areas: pd.DataFrame
    """`circuit_areas.csv`, `circuit_edge_areas.csv`"""


@dataclass(frozen=True)
class Results:
    """All that the report of one study is made of; None or empty where a file is not there."""

    study: str
    folder: Path
    settings: Mapping[str, Any]
    pairs: pd.DataFrame
    baseline: pd.DataFrame
    heads: pd.DataFrame
    dropped: pd.DataFrame
    correlations: pd.DataFrame | None
    claims: pd.DataFrame | None
    stability: pd.DataFrame | None
    sample_sizes: pd.DataFrame | None
    variance: pd.DataFrame | None
    mlps: pd.DataFrame | None
    faithfulness: pd.DataFrame | None
    interaction: pd.DataFrame | None
    positions: pd.DataFrame | None
    position_curves: pd.DataFrame | None
    circuits: Circuits | None
    generated: tuple[Generated, ...]
    atlas: pd.DataFrame | None
    methods: pd.DataFrame | None
    warnings: pd.DataFrame | None
    provenance: Mapping[str, Any]
    tokens: Tokens
    card: str | None = None
    answers: pd.DataFrame | None = None
    answer_tokens: pd.DataFrame | None = None
    without_bos: pd.DataFrame | None = None
    agreement: pd.DataFrame | None = None
    roles: pd.DataFrame | None = None
    patterns: AttentionPatterns | None = None
    edges: pd.DataFrame | None = None
    score_agreement: pd.DataFrame | None = None
    one_direction_heads: pd.DataFrame | None = None
    edge_circuits: Circuits | None = None
    gathered: dict[str, Any] | None = None
    """Where sections note the figures that they draw (`section_parts.drawn_here`), if anywhere."""

    @cached_property
    def directions(self) -> list[str]:
        """The directions, as in the table of heads."""
        return directions(self.heads)

    @cached_property
    def means(self) -> dict[tuple[str, int, int], dict[Any, Any]]:
        """Every head's means over pairs by (direction, layer, head)."""
        return {
            (row["direction"], int(row["layer"]), int(row["head"])): row
            for row in mean_over_pairs(self.heads, self.floor_asked).to_dict("records")
        }

    @cached_property
    def places(self) -> dict[tuple[int, int], dict[Any, Any]]:
        """Every head's place by |AP| in the first direction (`stability.ranking`)."""
        first = self.heads[self.heads["direction"] == self.directions[0]]
        settings = Settings(**self.settings.get("statistics", {}))
        return {
            (int(row["layer"]), int(row["head"])): row
            for row in ranking(first, "ap", settings=settings).to_dict("records")
        }

    @cached_property
    def ranks_on_other_pairs(self) -> pd.DataFrame:
        """Ranks of the targets on each other's pairs (`counterfactuals.head_ranks`)."""
        return ranks_on_other_pairs(
            {
                (one.layer, one.head): one.validation
                for one in self.generated
                if one.validation is not None and "head_effects" in one.validation
            }
        )

    @cached_property
    def drawn(self) -> str:
        """What intervals over pairs draw: "pairs", or "templates" (`statistics.templates`)."""
        settings = Settings(**self.settings.get("statistics", {}))
        whole = drawn_whole(template_names(self.heads), settings)
        return "pairs" if whole is None else "templates"

    @property
    def n_heads(self) -> int:
        """How many heads the model has."""
        return len(self.means) // len(self.directions)

    @property
    def metric(self) -> str:
        """The study's metric, as `glossary.metric_words` names it."""
        return measured_metric(
            str(self.settings.get("metric", "logit_difference")),
            self.answers_read,
        )

    @property
    def words(self) -> MetricWords:
        """What may be said of the study's metric."""
        return metric_words(self.metric)

    @property
    def answers_read(self) -> str:
        """How answers of several tokens are read: the study's setting `answer_tokens`."""
        return str(self.settings.get("answer_tokens", "one"))

    @property
    def takes_several_tokens(self) -> bool:
        """Whether the study takes answers of several tokens, and its pairs say which are."""
        return self.answers_read != "one" and set(ANSWER_COLUMNS) <= set(self.pairs.columns)

    @property
    def difference_short(self) -> str:
        """The short name of the difference of a pair's answers, which `logit_difference` gives."""
        words = metric_words(
            measured_metric("logit_difference", "whole" if of_whole_answers(self.metric) else "one")
        )
        return words.short

    def logit_difference(self, prompt: str) -> pd.Series | None:
        """The logit difference of every pair on a prompt; None where it was not kept.

        Of answers that are read whole it is their log odds.
        """
        for name in (f"logit_difference_{prompt}", f"metric_{prompt}"):
            known = name in self.baseline and (
                name.startswith("logit") or self.metric == "logit_difference"
            )
            if known:
                return self.baseline[name]
        return None

    @cached_property
    def doubts(self) -> pd.DataFrame:
        """Pairs that were probably meant otherwise (`counterpoint.pairs.doubtful_pairs`)."""
        rows = self.pairs["row"].tolist() if "row" in self.pairs else None
        answers = doubtful_answers(
            self.baseline, rows, str(self.settings.get("metric", "logit_difference"))
        )
        told = [table for table in (self.warnings, answers) if table is not None and len(table)]
        return pd.concat(told, ignore_index=True) if told else answers

    def statistic(self, name: str, default: Any) -> Any:
        """Return a setting of the statistics."""
        return self.settings.get("statistics", {}).get(name, default)

    @property
    def floor(self) -> float:
        """The movement below which a head is rounding: the setting, or the format's own floor."""
        return floor_of(self.heads, self.floor_asked)

    @cached_property
    def below_floor(self) -> list[str]:
        """The heads at the floor on the mean, in the first direction, as "layer.head"."""
        return [
            f"{layer}.{head}"
            for (direction, layer, head), row in self.means.items()
            if direction == self.directions[0] and row["at_floor"]
        ]

    @property
    def floor_asked(self) -> float:
        """The setting `statistics.floor`."""
        return float(self.statistic("floor", 1e-4))

    @property
    def dtype(self) -> str:
        """The number format of the study's weights and activations."""
        return str(self.settings.get("dtype", "float32"))

    def figure(self, name: str) -> Path:
        """Return the path of a figure's SVG."""
        return self.folder / "figures" / f"{name}.svg"


def load_results(
    study: str,
    folder: PathLike,
    settings: Mapping[str, Any],
    tokenizer: PathLike | None = None,
    card: PathLike | None = None,
) -> Results:
    """Read the results of ``study`` from ``folder`` (``results/{study}``).

    ``settings`` is the study's resolved configuration; ``tokenizer`` the model's
    ``tokenizer.json``, without which differences are marked by words; ``card`` a text about the
    pair set. Raises UserError when a file that every report needs is missing.
    """
    folder = Path(folder)

    def needed(name: str) -> pd.DataFrame:
        path = folder / name
        if not path.exists():
            raise UserError(
                f"{path}: this file is missing, and the report of study {study!r} needs it; "
                "run the workflow, which makes it"
            )
        return read_table(path)

    def optional(name: str) -> pd.DataFrame | None:
        path = folder / name
        return read_table(path) if path.exists() else None

    # What an earlier configuration has left there is no part of this study.
    asked = current_files.has_answers(settings)
    twice = settings.get("prepend_bos") == BOTH
    scored = current_files.has_baselines(settings)
    provenance = folder / "provenance.json"
    pairs = needed("pairs.parquet").sort_values("pair", ignore_index=True)
    return Results(
        study=study,
        folder=folder,
        settings=settings,
        pairs=pairs,
        baseline=needed("baseline.parquet").sort_values("pair", ignore_index=True),
        heads=with_templates(needed("heads.parquet"), pairs),
        dropped=needed("dropped.csv"),
        correlations=optional("correlations.csv"),
        claims=optional("claims.csv"),
        stability=optional("stability.csv"),
        sample_sizes=optional("sample_sizes.csv"),
        variance=optional("variance.csv"),
        mlps=optional("mlps.parquet") if current_files.has_mlps(settings) else None,
        faithfulness=optional("faithfulness.parquet"),
        interaction=optional("interaction.parquet"),
        positions=(
            optional("positions.parquet") if current_files.has_positions(settings) else None
        ),
        position_curves=(
            optional("position_curves.parquet")
            if current_files.has_position_curves(settings)
            else None
        ),
        circuits=(
            _read_circuits(folder, "circuit.parquet", "circuit")
            if current_files.has_circuits(settings, "nodes")
            else None
        ),
        generated=_read_generated(folder, settings),
        atlas=optional("atlas.parquet") if current_files.has_atlas(settings) else None,
        methods=(
            optional("methods/methods.csv")
            if current_files.are_compared(folder, settings)
            else None
        ),
        warnings=optional("warnings.csv"),
        provenance=(
            json.loads(provenance.read_text(encoding="utf-8")) if provenance.exists() else {}
        ),
        tokens=Tokens(tokenizer),
        card=Path(card).read_text(encoding="utf-8", errors="replace") if card else None,
        answers=optional("answers.parquet") if asked else None,
        answer_tokens=optional("answer_tokens.parquet") if asked else None,
        without_bos=optional(f"{WITHOUT}/heads.parquet") if twice else None,
        agreement=optional(f"{WITHOUT}/agreement.csv") if twice else None,
        roles=optional("roles.parquet") if current_files.has_roles(settings) else None,
        patterns=_read_patterns(folder) if current_files.has_patterns(settings) else None,
        edges=optional("edges.parquet") if current_files.has_edges(settings) else None,
        score_agreement=optional("score_agreement.csv") if scored else None,
        one_direction_heads=optional("one_direction_heads.csv") if scored else None,
        edge_circuits=(
            _read_circuits(folder, "circuit_edges.parquet", "circuit_edge")
            if current_files.has_circuits(settings, "edges")
            else None
        ),
    )


def _read_patterns(folder: Path) -> AttentionPatterns | None:
    path = folder / "patterns.safetensors"
    return read_patterns(path) if path.exists() else None


def _read_circuits(folder: Path, members: str, stem: str) -> Circuits | None:
    """The tables of circuits, of which two begin with ``stem``; None where one is not there."""
    paths = [folder / name for name in (members, f"{stem}_curves.csv", f"{stem}_areas.csv")]
    return Circuits(*map(read_table, paths)) if all(path.exists() for path in paths) else None


def _read_generated(folder: Path, settings: Mapping[str, Any]) -> tuple[Generated, ...]:
    """Read ``{layer}.{head}/{method}.parquet``, traces and ``validation.parquet`` of the targets
    and methods of a study."""
    targets = current_files.targets(folder, settings)
    methods = settings.get("counterfactuals", {}).get("methods")
    folder = folder / "counterfactuals"
    found = []
    for place in folder.iterdir() if folder.is_dir() else ():
        layer, _, head = place.name.partition(".")
        if not (place.is_dir() and layer.isdigit() and head.isdigit()):
            continue
        if targets is not None and (int(layer), int(head)) not in targets:
            continue
        tables = {path.name.removesuffix(".parquet"): path for path in place.glob("*.parquet")}
        validation = tables.pop("validation", None)
        if methods is not None:
            tables = {
                name: path
                for name, path in tables.items()
                if name.removesuffix(".trace") in methods
            }
        found.append(
            Generated(
                layer=int(layer),
                head=int(head),
                methods={
                    name: read_table(path)
                    for name, path in sorted(tables.items())
                    if not name.endswith(".trace")
                },
                validation=read_table(validation) if validation else None,
                traces={
                    name.removesuffix(".trace"): read_table(path)
                    for name, path in sorted(tables.items())
                    if name.endswith(".trace")
                },
            )
        )
    return tuple(sorted(found, key=lambda one: (one.layer, one.head)))
