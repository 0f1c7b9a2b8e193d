"""docs/architectures.md: the table of what was measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = Path("docs/architectures.md")

_ERRORS = ("ap", "f", "g", "ig_joint", "float64")

_INTRODUCTION = """# Architectures

What Counterpoint measures exactly, and what it refuses and why. Made by `make architectures` on
{day} ({minutes} minutes of one core; torch {torch}, transformers {transformers}, TransformerLens
{transformer_lens}); not part of `make test`, which keeps a few rows of each kind.

Each row is a tiny random model (three layers, four heads, width 32, weights large enough that no
head is negligible), written to a folder and loaded as any model is. Its modules are found in the
module tree and the configuration alone (`counterpoint/models/architecture_support.py`). Everything
is then compared with a plain reference that shares nothing with the engine
(`benchmarks/architectures/reference.py`): whole passes of the model, one head at a time put in
place before its output projection; *g* by reverse-mode differentiation of such passes, *IG joint*
by a sum of plain gradients at the same eight Gauss-Legendre nodes, the MLP by putting the other
prompt's output in place. On two pairs of prompts of nine tokens, in both directions, with the first
differing token at the beginning, at the fourth place and at the last; *f* at two places of the
path, *g* at one. A model that reads images or sound besides text is given text alone.

**Exact**: every difference is below {tolerance:.0e} of the largest logit difference or effect (at
least 1). Columns show the largest differences seen, in metric units; *AP, float64* is that of the
same model in float64. Where normalisations and softmax are in float32 whatever the format,
float64 gains little. **Refused**: nothing is measured, and the reason is what a user is told.
**MLP**: the verdict on the AP of MLPs; "none" where no one module holds what a block's
feed-forward adds. **Adapter**: whether TransformerLens {transformer_lens} has one for this class;
it is asked for nothing but its own view of a model (`LanguageModel.bridge()`).

{counts}

"""


def write(results: Sequence[dict[str, Any]], adapters: Sequence[str]) -> None:
    """Write the page of the sweep's ``results``, in their order."""
    from benchmarks.architectures.measure import TOLERANCE

    text = _INTRODUCTION.format(
        day=date.today().isoformat(),
        minutes=max(1, round(sum(result["seconds"] for result in results) / 60)),
        tolerance=TOLERANCE,
        counts=_counts(results),
        torch=version("torch").partition("+")[0],
        transformers=version("transformers"),
        transformer_lens=version("transformer-lens"),
    )
    measured = [result for result in results if result["errors"]]
    others = [result for result in results if not result["errors"]]
    lines = [
        "## Measured",
        "",
        "| configuration | class | adapter | layers with heads | verdict | AP | f | g | IG joint"
        " | AP, float64 | MLP | AP of MLPs | remark |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_measured(result, adapters) for result in measured),
        "",
        "## Refused",
        "",
        "| configuration | class | adapter | verdict | reason |",
        "|---|---|---|---|---|",
        *(_refused(result, adapters) for result in others),
        "",
        "Adapters of TransformerLens without a row are for formats of its own, or for further names"
        " of what stands above: "
        + ", ".join(f"`{name}`" for name in _without_row(results, adapters)),
    ]
    PAGE.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def _without_row(results: Sequence[dict[str, Any]], adapters: Sequence[str]) -> list[str]:
    known = {result["architecture"] for result in results}
    return [name for name in adapters if name not in known]


def _counts(results: Sequence[dict[str, Any]]) -> str:
    verdicts = Counter(result["verdict"] for result in results)
    mlps = Counter(result["mlp_verdict"].partition(":")[0] for result in results)
    named = ("exact", "refused", "wrong", "traceback", "not built")
    heads = ", ".join(
        f"{verdicts[name]} {name}" for name in named if verdicts[name] or name[0] in "wt"
    )
    of_mlps = ", ".join(f"{mlps[name]} {name}" for name in ("exact", "none", "wrong", "traceback"))
    return f"**{len(results)} rows: {heads}. MLPs: {of_mlps}.**"


def _measured(result: dict[str, Any], adapters: Sequence[str]) -> str:
    errors = [_number(result["errors"].get(name)) for name in _ERRORS]
    cells = [
        result["name"],
        f"`{result['architecture']}`",
        _yes(result, adapters),
        result["layers"],
        result["verdict"],
        *errors,
        result["mlp_verdict"],
        _number(result["errors"].get("mlp")),
        result["reason"],
    ]
    return _line(cells)


def _refused(result: dict[str, Any], adapters: Sequence[str]) -> str:
    name = f"`{result['architecture']}`" if result["architecture"] else ""
    return _line(
        [result["name"], name, _yes(result, adapters), result["verdict"], result["reason"]]
    )


def _yes(result: dict[str, Any], adapters: Sequence[str]) -> str:
    known = "yes" if result["architecture"] in adapters else "no"
    return result["adapter"] if known == "yes" and result["adapter"] else known


def _number(error: float | None) -> str:
    if error is None:
        return ""
    return "fails" if math.isnan(error) else f"{error:.0e}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
