"""Every word that the project uses, and every column of every table, each explained once.

Report, figures and docs read their words here. `WORDS` holds the words of the field by key: what
each means, its formula, its unit and the function that computes it. `COLUMNS` holds the columns of
every file of a study by the file's path, `TABLES` the files themselves. What a word means for one
metric says `metric_words`. Everything is plain text and the standard library: importing it costs
nothing, and no other room is imported.

It is a room and not one module because it is long: `entries` says what an entry is; `*_words` hold
the words, `*_tables` the columns, `shared_columns` those of many tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from counterpoint.glossary.baseline_tables import BASELINE_TABLES
from counterpoint.glossary.baseline_words import BASELINE_WORDS
from counterpoint.glossary.circuit_tables import CIRCUIT_TABLES, EDGE_CIRCUIT_TABLES
from counterpoint.glossary.entries import UNITS, Column, Table, Word
from counterpoint.glossary.measurement_words import MEASUREMENT_WORDS
from counterpoint.glossary.mechanism_tables import MECHANISM_TABLES
from counterpoint.glossary.mechanism_words import MECHANISM_WORDS
from counterpoint.glossary.search_tables import SEARCH_TABLES
from counterpoint.glossary.search_words import SEARCH_WORDS
from counterpoint.glossary.shared_columns import AGREEMENTS, VARIANCES
from counterpoint.glossary.statistics_tables import STATISTICS_TABLES
from counterpoint.glossary.study_tables import DERIVED, STUDY_TABLES

__all__ = [
    "AGREEMENTS",
    "COLUMNS",
    "DERIVED",
    "TABLES",
    "UNITS",
    "VARIANCES",
    "WORDS",
    "Column",
    "Table",
    "Word",
    "label",
    "signed_label",
    "size_label",
]

WORDS: Mapping[str, Word] = {
    word.key: word
    for word in (*MEASUREMENT_WORDS, *MECHANISM_WORDS, *BASELINE_WORDS, *SEARCH_WORDS)
}
"""Every word by its key, in reading order."""

TABLES: Mapping[str, Table] = {
    table.path: table
    for table in (
        *STUDY_TABLES,
        *MECHANISM_TABLES,
        *CIRCUIT_TABLES,
        *EDGE_CIRCUIT_TABLES,
        *STATISTICS_TABLES,
        *BASELINE_TABLES,
        *SEARCH_TABLES,
    )
}
"""Every file with columns that a study writes, by its path."""

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    path: {column.name: column for column in table.columns} for path, table in TABLES.items()
}
"""The columns of every file by its path and their names, in their order."""

SIGNED = ("ap", "atp", "ig_joint")
"""Scores whose sign is said where their sizes stand beside them."""


def label(name: str) -> str:
    """A column of heads.parquet, or what statistics derive from it, as an axis should show it.

    An unknown name is its own label.
    """
    column = COLUMNS["heads.parquet"].get(name) or DERIVED.get(name)
    return name if column is None else column.shown


def signed_label(name: str) -> str:
    """The same, with "(signed)" for the scores that also stand there by their size."""
    return f"{label(name)} (signed)" if name in SIGNED else label(name)


def size_label(name: str) -> str:
    """The label of a score's size, which is what heads are ranked by."""
    return label(f"abs_{name}") if f"abs_{name}" in DERIVED else signed_label(name)
