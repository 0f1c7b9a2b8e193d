"""Configurations that are wrong."""

from __future__ import annotations

import math
from typing import Any

from tests.bad_inputs.cases import Case, small

NAN, INFINITE = math.nan, math.inf
WHEEL = {
    "source": "pypi",
    "package": "tiny-model",
    "version": "1.0",
    "file": "model.gguf",
    "sha256": "0" * 64,
}
LONG = "a" * 300


def setting(name: str, key: str, value: Any, *told: str) -> Case:
    """A value of the study that is not allowed; its key is told."""
    return Case(f"{name}", [f"studies.small.{key}", *told], {f"small.{key}": value})


NOT_ALLOWED = "is not allowed"

SETTINGS = [
    setting("tolerance-nan", "curves.tolerance", NAN, "finite number"),
    setting("tolerance-infinite", "integrated_gradients.tolerance", INFINITE, "finite number"),
    setting("seconds-nan", "counterfactuals.budget.seconds", NAN, "finite number"),
    setting("seconds-infinite", "counterfactuals.budget.seconds", INFINITE, "finite number"),
    setting("confidence-nan", "statistics.confidence", NAN, "finite number"),
    setting("tolerance-negative", "curves.tolerance", -1, "above 0"),
    setting("tolerance-zero", "curves.tolerance", 0, "above 0"),
    setting("tolerance-a-word", "curves.tolerance", "small", "a number"),
    setting("tolerance-in-words", "curves.tolerance", "1e-4", "write 1.0e-4"),
    setting("nodes-not-nested", "curves.max_nodes", 4, "one of 3, 5, 9"),
    setting("nodes-of-another-rule", "curves.nodes", "gauss-50", "did you mean gauss-legendre-50"),
    setting("kept-some", "curves.keep", "some", "all, none"),
    setting("kept-none-at-all", "curves.keep", 0, "all, none"),
    setting("shard-of-nothing", "shard_size", 0, "at least 1"),
    setting("shard-of-a-fraction", "shard_size", 1.5, "a whole number"),
    setting("shard-of-a-whole-fraction", "shard_size", 2.0, "write 2"),
    setting("shard-of-truth", "shard_size", True, "a whole number"),
    setting("shard-of-a-list", "shard_size", [2], "a whole number"),
    setting("no-pairs-at-most", "max_pairs", 0, "at least 1"),
    setting("fewer-than-no-pairs", "max_pairs", -3, "at least 1"),
    setting("no-direction", "directions", [], "items at least 1"),
    setting("a-direction-twice", "directions", ["noising", "noising"], "no two of them the same"),
    setting("an-unknown-direction", "directions", ["sideways"], "noising"),
    setting("no-heads", "components", ["mlp"], NOT_ALLOWED),
    setting("device-gpu", "device", "gpu", NOT_ALLOWED),
    setting("device-without-number", "device", "cuda:", NOT_ALLOWED),
    setting("device-with-a-line-break", "device", "cpu\n", NOT_ALLOWED),
    setting("float16", "dtype", "float16", "float32, float64, bfloat16"),
    setting("metric-accuracy", "metric", "accuracy", "logit_difference"),
    setting("too-little-memory", "memory_mb", 10, "at least 100"),
    setting("memory-without-end", "memory_mb", INFINITE, "a whole number"),
    setting("bos-perhaps", "prepend_bos", "maybe", "true, false, both"),
    setting("bad-pairs-ignored", "on_bad_pair", "ignore", "error, drop"),
    setting("answers-of-two-tokens", "answer_tokens", "two", "one, first_difference, whole"),
    setting("lengths-padded", "unequal_lengths", "pad", "refuse, align"),
    setting("unknown-baseline", "baselines", ["atp"], NOT_ALLOWED),
    setting("unknown-key", "curvs", {}, "did you mean curves?"),
    setting("unknown-inner-key", "curves.tolerence", 1, "did you mean tolerance?"),
    setting("a-number-for-a-mapping", "curves", 3, "a mapping"),
    setting("null-for-a-mapping", "curves", None, "a mapping"),
    setting("no-samples", "statistics.bootstrap_samples", 0, "at least"),
    setting("fewer-than-no-permutations", "statistics.permutations", -1, "at least"),
    setting("confidence-of-two", "statistics.confidence", 2, "below 1"),
    setting("top-none", "statistics.top_k", 0, "at least 1"),
    setting("no-heads-shown", "report.heads_shown", 0, "at least 1"),
    setting("a-title-of-a-list", "report.title", [1], "text or null"),
    setting("head-of-one-number", "report.heads", [[1]], NOT_ALLOWED),
    setting("head-of-three-numbers", "report.heads", [[1, 2, 3]], NOT_ALLOWED),
    setting("head-below-zero", "report.heads", [[1, -1]], "at least 0"),
    setting("head-of-words", "report.heads", [["one", "two"]], "a whole number"),
    setting("heads-that-are-all", "report.heads", "all", "a list"),
    setting("targets-both-ways", "counterfactuals.targets", {"top": 1, "random": 1}, NOT_ALLOWED),
    setting("targets-at-the-bottom", "counterfactuals.targets", {"bottom": 1}, NOT_ALLOWED),
    setting("targets-twice", "counterfactuals.targets", [[1, 2], [1, 2]], "no two of them"),
    setting("no-methods", "counterfactuals.methods", [], "items at least 1"),
    setting("unknown-method", "counterfactuals.methods", ["fluently"], "did you mean fluent"),
    setting("the-same-answers", "counterfactuals.answers", [" Mary", " Mary"], "no two of them"),
    setting("one-answer", "counterfactuals.answers", [" Mary"], "items at least 2"),
    setting("an-empty-answer", "counterfactuals.answers", ["", " Mary"], "characters at least 1"),
    setting("an-empty-start", "counterfactuals.start", "", NOT_ALLOWED),
    setting("no-start", "counterfactuals.start", [], NOT_ALLOWED),
    setting("no-seeds", "counterfactuals.seeds", [], "items at least 1"),
    setting("a-seed-below-zero", "counterfactuals.seeds", [-1], "at least 0"),
    setting("a-seed-beyond-64-bits", "counterfactuals.seeds", [2**70], "at most"),
    setting("a-seed-of-the-atlas", "counterfactuals.atlas.seeds", [1.5], "a whole number"),
    setting("no-evaluations", "counterfactuals.budget.evaluations", 0, "at least 1"),
    setting("surprise", "counterfactuals.settings.fluent.surprise", -1, "at least 0"),
    setting("population", "counterfactuals.settings.evolution.population", 1, "at least 4"),
    setting("momentum", "counterfactuals.settings.descent.momentum", 1, "below 1"),
]

OUT_OF_RANGE = [
    Case(key, [f"studies.small.{key}: the model has no head", "layers go from 0 to 2"], changes)
    for key, changes in (
        ("report.heads", {"small.report.heads": [[7, 7]]}),
        ("positions.heads", {"small.positions": {"pairs": 1, "heads": [[9, 0]]}}),
        ("position_curves.heads", {"small.position_curves": {"pairs": 1, "heads": [[0, 9]]}}),
        ("edges.receivers", {"small.edges": {"pairs": 1, "receivers": [[3, 0]]}}),
        ("counterfactuals.targets", {"small.counterfactuals.targets": [[0, 4]]}),
    )
] + [
    Case(
        f"too-many-{word}",
        ["studies.small.counterfactuals.targets: 13 heads", "the model has 12"],
        {"small.counterfactuals.targets": {word: 13}},
    )
    for word in ("top", "random")
]

PLACES = [
    Case("pairs-missing", ["studies.small.pairs: missing"], {"small.pairs": ...}),
    setting("pairs-null", "pairs", None, "there is no file null"),
    setting("pairs-not-there", "pairs", "none.csv", "there is no file none.csv", "columns clean"),
    setting("pairs-of-no-name", "pairs", "", "there is no file"),
    setting("pairs-a-folder", "pairs", "tiny", "there is no file tiny"),
    setting("pairs-of-a-name-too-long", "pairs", LONG + ".csv", "there is no file"),
    setting("pairs-with-a-nul", "pairs", "a\0.csv", "there is no file"),
    Case(
        "pairs-of-another-kind",
        ["small.xlsx cannot be read as pairs", ".csv, .jsonl"],
        {"small.pairs": "small.xlsx"},
        files={"small.xlsx": "clean"},
    ),
    setting("hub-twice-slashed", "pairs", "hf://datasets/o/n//etc/x.csv", "its file", "max_pairs"),
    setting("hub-absolute", "pairs", "hf://datasets//etc/x.csv", "expected hf://datasets/"),
    setting("hub-upwards", "pairs", "hf://datasets/o/n/../../x.csv", "its file", "without .."),
    setting("hub-inner-empty", "pairs", "hf://datasets/o/n/a//b.csv", "its file", "empty parts"),
    setting("hub-dotted-owner", "pairs", "hf://datasets/../n/x.csv", "its repository"),
    setting("hub-control-character", "pairs", "hf://datasets/o/n/a\x01.csv", "its file"),
    setting("hub-of-a-revision-upwards", "pairs", "hf://datasets/o/n@a..b/x.csv", "its revision"),
    setting("hub-of-models", "pairs", "hf://models/o/n/x.csv", "expected hf://datasets/"),
    setting("hub-without-name", "pairs", "hf://datasets/o", "expected hf://datasets/"),
    setting("hub-of-another-kind", "pairs", "hf://datasets/o/n/x.txt", ".csv, .jsonl"),
    Case(
        "hub-without-a-number",
        ["studies.small.max_pairs: missing", "MAX_PAIRS=100"],
        {"small.pairs": "hf://datasets/o/n/x.csv"},
    ),
]

MODELS = [
    Case("model-misspelt", ["model: tinny", "did you mean tiny?"], {"small.model": "tinny"}),
    Case(
        "model-of-a-list",
        ["studies.small.model", "text"],
        {"small.model": [], "small.report.title": "A title"},
    ),
    Case("model-of-no-name", ["model:  is neither", "check the spelling"], {"small.model": ""}),
    Case("model-of-three-parts", ["a/b/c", "organisation/name"], {"small.model": "a/b/c"}),
    Case("model-upwards", ["../x", "organisation/name"], {"small.model": "../x"}),
    Case("model-as-an-option", ["-a/b", "organisation/name"], {"small.model": "-a/b"}),
    Case("model-with-a-nul", ["check the spelling"], {"small.model": "a\0b"}),
    Case("model-a-gguf-not-there", ["x.gguf", "neither a folder"], {"small.model": "x.gguf"}),
    Case("path-not-there", ["models.tiny.path", "config.json"], {"models.tiny.path": "none"}),
    Case("path-null", ["models.tiny.path", "null is"], {"models.tiny.path": None}),
    Case("path-with-a-nul", ["models.tiny.path", "config.json"], {"models.tiny.path": "a\0"}),
    Case("path-missing", ["models.tiny.path: missing"], {"models.tiny.path": ...}),
    Case("source-unknown", ["models.tiny.source", "pypi, hugging"], {"models.tiny.source": "hub"}),
    Case("source-missing", ["models.tiny.source: missing"], {"models.tiny": {"path": "tiny"}}),
    Case("key-of-another-source", ["models.tiny.revision: unknown"], {"models.tiny.revision": "a"}),
    *(
        Case(f"wheel-{name}", [f"models.tiny.{key}", told], {"models.tiny": {**WHEEL, key: value}})
        for name, key, value, told in (
            ("option", "package", "--index-url=http://x", "letters, digits and"),
            ("dash", "package", "-x", "letters, digits and"),
            ("address", "package", "a @ http://x/y.whl", "letters, digits and"),
            ("line-break", "package", "a\n", "letters, digits and"),
            ("version-option", "version", "1 --pre", "one version"),
            ("version-open", "version", ">=1", "one version"),
            ("version-of-words", "version", "the newest", "one version"),
            ("file-upwards", "file", "../../model.gguf", "without .."),
            ("file-absolute", "file", "/etc/passwd", "a path from the top"),
            ("checksum-short", "sha256", "0" * 63, "of the form"),
            ("checksum-with-a-line-break", "sha256", "0" * 64 + "\n", "of the form"),
        )
    ),
    *(
        Case(
            f"hub-model-{name}",
            [f"models.tiny.{key}", told],
            {"models.tiny": {"source": "huggingface", "repository": "o/n", key: value}},
        )
        for name, key, value, told in (
            ("slashes", "repository", "o//n", "owner/name"),
            ("option", "repository", "--x/n", "owner/name"),
            ("upwards", "repository", "../n", "owner/name"),
            ("alone", "repository", "gpt2", "owner/name"),
            ("revision-option", "revision", "--x", "a branch, tag or commit"),
            ("revision-upwards", "revision", "a/../b", "a branch, tag or commit"),
            ("revision-empty", "revision", "", "a branch, tag or commit"),
        )
    ),
    *(
        Case(f"model-called-{number}", ["models", NOT_ALLOWED], {f"models.{name}": WHEEL})
        for number, name in enumerate(("-a", "a/b", "a b", "a\n", LONG))
    ),
]

STUDIES = [
    *(
        Case(
            f"study-called-{number}",
            ["studies", NOT_ALLOWED, "letters, digits and"],
            {"study": ..., "studies": {name: {"pairs": "small.csv", "model": "tiny"}}},
        )
        for number, name in enumerate(
            ("../x", "a b", "a/b", "comparison", "logs", "-x", "a\n", LONG, "", "é", "a\0")
        )
    ),
    Case("study-unknown", ["study: small.yaml has no study smal", "did you"], {"study": "smal"}),
    Case("study-of-nothing", ["study", "items at least 1"], {"study": []}),
    Case("study-twice", ["study", "no two of them"], {"study": ["small", "small"]}),
    Case("no-studies", ["studies", NOT_ALLOWED], {"studies": {}}),
    Case("studies-missing", ["studies: missing"], {"studies": ...}),
    Case("studies-a-list", ["studies", "a mapping"], {"studies": ["small"]}),
    Case("study-null", ["studies.small", "a mapping"], {"studies": {"small": None}}),
    Case("kept-activations", ["keep_activations", "at least 0"], {"keep_activations": -1}),
    Case(
        "two-levels",
        ["studies.small.statistics.confidence: 0.95 differs from the 0.5 of study other"],
        {
            "study": ...,
            "studies.other": {
                **small()["studies"]["small"],
                "statistics": {"confidence": 0.5},
            },
        },
    ),
    Case(
        "pairs-for-two-studies",
        ["pairs on the command line", "name one"],
        {"study": ..., "studies.other": small()["studies"]["small"], "pairs": "small.csv"},
    ),
    Case(
        "roles-of-aligned-pairs",
        ["studies.small.roles"],
        {"small.unequal_lengths": "align", "small.roles": {"pairs": 1}},
    ),
    Case(
        "positions-of-whole-answers",
        ["studies.small.positions"],
        {"small.answer_tokens": "whole", "small.positions": {"pairs": 1}},
    ),
    Case(
        "one-layer-for-atp-star",
        ["studies.small.baselines", "single layer"],
        {"small.baselines": ["atp_star"], "small.counterfactuals.targets": []},
        prepare=lambda folder: (folder / "tiny" / "config.json").write_text(
            '{"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 4}'
        ),
    ),
]

# Told with their key; the file may be one of several.
OF_KEYS = ("octal", "base-sixty", "half-a-character")

TEXTS = [
    Case(name, [told] if name in OF_KEYS else ["small.yaml", told], text=text)
    for name, text, told in (
        ("a-key-twice", "study: a\nstudy: b\n", "the key study stands twice, in lines 1 and 2"),
        ("a-key-twice-in-json", '{"study": "a", "study": "b"}', "stands twice"),
        ("nothing", "", "is empty"),
        ("remarks-alone", "# nothing\n", "is empty"),
        ("a-list", "- a\n", "is a list"),
        ("a-word", "studies", "is one text"),
        ("a-tab", "studies:\n\tsmall: {}\n", "line 2"),
        ("an-open-bracket", "studies: {small: [1\n", "line"),
        ("an-open-quote", 'study: "small\n', "line"),
        ("a-colon-in-text", "studies:\n  small: a: b\n", "line 2"),
        ("latin-1", "study: caf\xe9\n".encode("latin-1"), "is not UTF-8"),
        ("utf-16", "study: small\n".encode("utf-16"), "is not UTF-8"),
        ("a-nul", b"study: a\0b\n", "is not YAML"),
        ("bytes", bytes(range(256)), "is not UTF-8"),
        ("without-end", "a: &x\n  b: *x\n", "nested without end"),
        ("deep", "[" * 3000, "nested without end"),
        ("code", "study: !!python/object/apply:os.system ['touch BAD']\n", "line 1"),
        ("a-tag", "study: !secret a\n", "line 1"),
        ("a-date", "study: 2024-99-99\n", "put it in quotes"),
        ("a-key-of-a-list", "? [a, b]\n: c\n", "a key is a list"),
        ("an-unknown-anchor", "study: *none\n", "line 1"),
        ("two-documents", "study: a\n---\nstudy: b\n", "line 2"),
        ("octal", "studies: {small: {pairs: small.csv, max_pairs: 010}}\n", "write 8"),
        ("base-sixty", "studies: {small: {pairs: small.csv, max_pairs: 1:30}}\n", "write 90"),
        ("half-a-character", '{"study": "\\ud83d"}', "half of a character"),
    )
]

CONFIGURATIONS = [*SETTINGS, *OUT_OF_RANGE, *PLACES, *MODELS, *STUDIES, *TEXTS]
