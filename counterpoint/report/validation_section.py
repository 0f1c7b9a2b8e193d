"""How generated pairs did when they were measured anew: transfer, chance, all checks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from counterpoint.counterfactuals.head_ranks import FIRST_FEW
from counterpoint.counterfactuals.validation.pair_flags import SHORT_CUTS
from counterpoint.report.html import (
    NOTHING,
    Fragment,
    answer,
    count,
    fill,
    folded,
    join,
    number,
    paragraph,
    small,
    table,
    word,
)
from counterpoint.report.section_parts import spoken
from counterpoint.report.study_results import Generated, Results


def transfer(results: Results, pairs: pd.DataFrame) -> Fragment:
    """Return how the edits did in fresh contexts: a sentence a pair, and the contexts folded."""
    if "transfer_contexts" not in pairs:
        return Fragment("")
    parts = []
    for row in pairs.dropna(subset=["transfer_contexts"]).to_dict("records"):
        contexts = int(row["transfer_contexts"])
        if not contexts:
            parts.append(
                paragraph(
                    word("transfer", "Transfer"),
                    f" of pair {row['number']}: no fresh context took up the edit with the same "
                    "tokens.",
                )
            )
            continue
        parts.append(
            paragraph(
                fill(
                    "{} of pair {} ({}) to {} fresh contexts: the target is <b>first in {}</b> and "
                    "in the first five in {}; the median LD change is {}. In {} of the contexts "
                    "both prompts go on with the same token, which counts as a failure. With the "
                    "pair's own answers it is first in {}, in the first five in {}, and the median "
                    "is {}. A context keeps {} of the pair's {} tokens; the median {} is {}.",
                    word("transfer", "Transfer"),
                    row["number"],
                    spoken(row["method"]),
                    contexts,
                    count(row["transfer_first"]),
                    count(row["transfer_first_five"]),
                    number(row["transfer_ld_change"], 2),
                    count(row["transfer_same_answer"]),
                    count(row["transfer_first_declared"]),
                    count(row["transfer_first_five_declared"]),
                    number(row["transfer_ld_change_declared"], 2),
                    count(row["transfer_kept"]),
                    len(row["clean_tokens"]),
                    word("perplexity", "perplexity"),
                    number(row["transfer_perplexity"], 1),
                )
            )
        )
        body = [
            [
                place,
                fill("{}<br>{}", *results.tokens.difference({"clean": x, "corrupted": y})),
                shown_rank(int(rank)),
                number(change, 2),
            ]
            for place, (x, y, rank, change) in enumerate(
                zip(
                    row["transfer_clean"],
                    row["transfer_corrupted"],
                    row["transfer_ranks"],
                    row["transfer_ld_changes"],
                    strict=True,
                ),
                start=1,
            )
        ]
        parts.append(
            folded(
                f"The {contexts} contexts of pair {row['number']}",
                table(
                    ["context", "prompts", word("rank", "rank"), word("ld-change")], body, text=(1,)
                ),
            )
        )
    return join(parts)


def shown_rank(rank: int) -> str:
    """A rank in a context: the first few alone are told apart."""
    if not rank:
        return "same answer"
    return count(rank) if rank <= FIRST_FEW else f"{FIRST_FEW + 1} or more"


def nulls(results: Results, one: Generated, pairs: pd.DataFrame) -> Fragment:
    """Return what chance gives: random answers, and the pairs of the other targets."""
    sentences: list[Any] = []
    known = pairs.dropna(subset=["null_rank"]) if "null_rank" in pairs else pairs.iloc[:0]
    if len(known):
        sentences.append(
            fill(
                "{}: with random answers on the same pairs the target's median rank is {} and its "
                "median |AP| {}, against {} and {} with the pairs' own; it comes first on {} % of "
                "the draws.",
                word("null", "Chance"),
                number(known["null_rank"].median(), 1),
                number(known["null_ap"].median(), 3),
                number(known["rank"].median(), 1),
                number(known["ap"].abs().median(), 3),
                number(100 * known["null_first"].mean(), 0),
            )
        )
    ranks = results.ranks_on_other_pairs
    ranks = ranks[(ranks["layer"] == one.layer) & (ranks["head"] == one.head)]
    if len(ranks):
        sentences.append(
            fill(
                "On the first {} that the same methods found for other heads ({} of them) its "
                "median rank is {}; it comes first on {}.",
                "pair" if len(ranks) == 1 else "pairs",
                len(ranks),
                number(ranks["rank"].median(), 1),
                int((ranks["rank"] == 1).sum()),
            )
        )
    return paragraph(join(sentences, " ")) if sentences else Fragment("")


def checks(pairs: pd.DataFrame) -> Fragment:
    """Return the rest of the validation, folded: both directions, IG, plain runs, the text."""
    if "ap_plain" not in pairs:
        return Fragment("")
    known = pairs.dropna(subset=["ap_plain"])
    header = [
        "pair", "method", word("ap"), "AP, plain runs", "margin, plain runs", "strongest other",
        "rank, denoising", "rank in its layer", fill("rank by {}", word("ig-joint")),
        word("evenness"), fill("{}, plain runs", word("perplexity")), word("fluent", "fluent"),
        word("surprise", "largest surprise"), "at the token", word("repetition"),
        word("short-cut", "short cuts"),
    ]  # fmt: skip
    body = [
        [
            row["number"],
            spoken(row["method"]),
            number(row["ap"], 3),
            number(row["ap_plain"], 3),
            number(row["margin_plain"], 2),
            row["second"],
            count(row["rank_denoising"]),
            count(row["rank_in_layer"]),
            count(row["ig_rank"]),
            number(row["evenness_again"], 2),
            fill(
                "{}<br>{}",
                number(row["perplexity_clean_again"], 1),
                number(row["perplexity_corrupted_again"], 1),
            ),
            NOTHING if pd.isna(row["fluent"]) else "yes" if row["fluent"] else "no",
            number(row["surprise"], 1),
            answer(row["surprising_token"]),
            number(row["repetition"], 2),
            _short_cuts(row),
        ]
        for row in known.to_dict("records")
    ]
    largest = (known["ap"] - known["ap_plain"]).abs().max()
    return folded(
        f"All checks of the {len(known)} validated pairs",
        join(
            [
                paragraph(
                    "Everything here was measured anew. The effects of the target and of its three "
                    "strongest rivals were taken once more in whole passes of the model, one "
                    f"prompt at a time; the target's differ by at most {small(largest)}.",
                ),
                table(header, body, text=(1, 5, 13, 15)),
            ]
        ),
    )


def _short_cuts(row: dict[Any, Any]) -> str:
    """Return what a pair is flagged for, in words."""
    flagged = [
        words for name, words in SHORT_CUTS.items() if bool(row[name]) != (name == "round_trip")
    ]
    return "; ".join(flagged) or "none"
