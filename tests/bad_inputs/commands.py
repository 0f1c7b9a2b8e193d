"""Command lines and environments that are wrong: of make, of Snakemake, of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Choice:
    """Variables of make, and what the message has to say of them."""

    name: str
    told: Sequence[str]
    variables: Mapping[str, str]
    files: Mapping[str, str | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """What Snakemake's own command line says after `--config`, and what Snakemake makes of it."""

    name: str
    told: Sequence[str]
    arguments: Sequence[str]
    values: Mapping[str, object] = field(default_factory=dict)


PROBES = ("`touch BAD`", "$(touch BAD)", "$(shell touch BAD)", "'; touch BAD; '", '"; touch BAD; "')
"""Harmless: what would come into being is a file named BAD."""

CHOICES = [
    *(
        Choice(f"cores-{number}", ["CORES: ", "make report CORES=4"], {"CORES": text})
        for number, text in enumerate(("0", "-1", "", "two", "1.5", "1e3", "00", "2 4", *PROBES))
    ),
    *(
        Choice(f"study-{number}", ["study: ", "is not allowed"], {"STUDY": text})
        for number, text in enumerate((*PROBES, "a b", "#x", "a: b", "../x", "-x", "logs", "é"))
    ),
    *(
        Choice(f"pairs-{number}", ["pairs: there is no file"], {"PAIRS": text})
        for number, text in enumerate((*PROBES, "a b", "#x", "a: b", "../x", "-x", "~/none.csv"))
    ),
    *(
        Choice(f"model-{number}", ["model: ", "check the spelling"], {"MODEL": text})
        for number, text in enumerate((*PROBES, "a b", "#x", "a: b", "../x/y", "-x", "~none"))
    ),
    Choice("max-pairs-of-words", ["max_pairs", "a whole number"], {"MAX_PAIRS": "many"}),
    Choice("max-pairs-of-none", ["max_pairs", "at least 1"], {"MAX_PAIRS": "0"}),
    Choice("max-pairs-below-none", ["max_pairs", "at least 1"], {"MAX_PAIRS": "-1"}),
    Choice("max-pairs-of-a-fraction", ["max_pairs", "a whole number"], {"MAX_PAIRS": "1.5"}),
    Choice("bad-pairs-ignored", ["on_bad_pair", "error, drop"], {"ON_BAD_PAIR": "ignore"}),
    Choice("bad-pairs-in-capitals", ["on_bad_pair", "did you mean drop"], {"ON_BAD_PAIR": "Drop"}),
    Choice("no-config", ["CONFIG: there is no file none.yaml"], {"CONFIG": "none.yaml"}),
    Choice("config-an-option", ["CONFIG: there is no file"], {"CONFIG": "--forceall"}),
    Choice("config-a-folder", ["CONFIG: tiny cannot be read: it is a folder"], {"CONFIG": "tiny"}),
    Choice("config-a-list", ["CONFIG: x.yaml is a list"], {"CONFIG": "x.yaml"}, {"x.yaml": "- a"}),
    Choice(
        "one-of-two-configs",
        ["CONFIG: there is no file y.yaml"],
        {"CONFIG": "x.yaml y.yaml"},
        {"x.yaml": "study: a"},
    ),
    Choice("an-open-quote", ["ARGS: --config 'a does not end"], {"ARGS": "--config 'a"}),
    Choice("an-open-double-quote", ['ARGS: "a does not end'], {"ARGS": '"a'}),
    Choice("a-last-backslash", ["ARGS: a\\ does not end"], {"ARGS": "a\\"}),
]

WORDS = [
    Words("number", ["study='[\"007\"]'", "make report STUDY="], ["-C", "study=007"], {"study": 7}),
    Words("underscore", ["1_000"], ["--config", "study=1_000"], {"study": 1000}),
    Words("remark", ["# begins a remark"], ["--config", "study=#1"], {"study": None}),
    Words("twice", ["study stands twice"], ["--config", "study=a", "study=b"], {"study": "b"}),
    Words("config-twice", ["--config stands 2 times"], ["-C", "study=a", "--config", "pairs=b"]),
    Words("files-twice", ["CONFIG"], ["--configfile", "a.yaml", "--configfile", "b.yaml"]),
    Words("unknown", ["sudy: unknown key; did you mean study?"], [], {"sudy": "a"}),
    Words("a-list", ["max_pairs"], [], {"max_pairs": [1]}),
    Words("a-mapping", ["study"], [], {"study": {"a": "b"}}),
    Words("inner", ["studies.small.shard_size"], [], {"studies": {"small": {"shard_size": "0"}}}),
]
