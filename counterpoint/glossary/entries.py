"""What an entry of the glossary is: a word, a column of a table, a table.

Texts are plain, with three marks that any renderer knows (those of Markdown): ``*emphasis*``,
``[text](#key)`` for a link to another word by its key, and backticks for names of settings and
columns. They hold no HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

METRIC = "metric"
"""The unit of what is measured in the study's metric: logits for a logit difference, nats for a
log-probability or a Kullback-Leibler divergence."""

UNITS: Mapping[str, str] = {
    "": "no unit: a name, a text, a mark or a list",
    "1": "a plain number without unit: a ratio, a correlation, a coefficient",
    METRIC: "that of the study's metric: logits for the logit difference, nats for the "
    "log-probability and the Kullback-Leibler divergence",
    "metric²": "the product of two values in the unit of the study's metric",
    "varies": "that of the row's quantity: a correlation, a share or a value of the metric",
    "logits": "logits, whatever the study's metric is",
    "nats": "natural units of information: e nats make a factor of e in probability",
    "share": "a share of a whole: 0 none, 1 all",
    "count": "a whole number of things",
    "number": "a whole number that names something: a place, a row, an identifier",
    "tokens": "a number of tokens",
    "perplexity": "e to the mean loss per token in nats",
    "seconds": "seconds",
    "core-hours": "hours of one processor core",
    "MB": "megabytes",
}
"""Every unit that an entry may have, with what it stands for."""


@dataclass(frozen=True)
class Word:
    """A word of the field.

    Attributes:
        key: by which it is linked to, the same in report and docs.
        name: as a reader should see it.
        meaning: what it is, in a few sentences.
        formula: the same as a formula in LaTeX, without delimiters; empty where none says more.
        unit: a key of `UNITS`.
        computed_by: the dotted path of the function, or of the class, that computes it; empty for
            what is not computed.
    """

    key: str
    name: str
    meaning: str
    formula: str = ""
    unit: str = ""
    computed_by: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table, or a key of a record.

    Attributes:
        name: as it stands in the file.
        unit: a key of `UNITS`.
        meaning: its definition, a sentence.
        word: the key of the word that it belongs to; empty where there is none.
        label: as an axis or a table's head has it; the name with spaces where none is given.
        says: of a column that holds names, what each says.
    """

    name: str
    unit: str
    meaning: str
    word: str = ""
    label: str = ""
    says: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The label, or the name with spaces for underscores."""
        return self.label or self.name.replace("_", " ")


@dataclass(frozen=True)
class Table:
    """A file of a study.

    Attributes:
        path: below ``results/{study}/``, or below ``results/`` for what compares studies; names in
            braces stand for many files.
        holds: what it is about and what one row is, in a sentence.
        columns: in the order of the file.
        open: whether columns of the user's own may follow.
    """

    path: str
    holds: str
    columns: tuple[Column, ...]
    open: bool = False
