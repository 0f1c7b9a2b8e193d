"""The output curves of chosen heads and their shape in numbers."""

from __future__ import annotations

from counterpoint.figures.chosen_heads import choose_heads
from counterpoint.glossary.metric_words import FLAT_START
from counterpoint.report.html import Fragment, folded, join, note, number, table, word
from counterpoint.report.section_parts import capital, drawn, listed, means_over, named_pairs
from counterpoint.report.study_results import Results


def curves(results: Results) -> Fragment:
    """Return the curves of chosen heads and their shape in numbers."""
    chosen = shown_heads(results)
    means = results.means
    names = ["ap", "total_variation", "monotonicity", "excess_range", "saturation", "ig_joint"]
    header = [
        "head", "why shown", "direction", word("ap", "AP"), word("total-variation"),
        word("monotonicity"), word("excess-range"), word("saturation"), word("ig-joint"),
    ]  # fmt: skip
    rows = [
        [
            f"{layer}.{head}", reason, direction,
            *[number(means[direction, layer, head][name], 3) for name in names],
        ]
        for layer, head, reason in chosen
        for direction in results.directions
    ]  # fmt: skip
    over = means_over(results, results.heads["pair"])
    names_shown = listed([f"{layer}.{head}" for layer, head, _ in chosen])
    return join(
        [
            note(FLAT_START) if results.words.flat(results.directions) else "",
            drawn(
                results, "curves", f"Output curves and gradients of the heads {names_shown}.",
                f"Above f(α) − f(0), below g(α), both in {results.words.unit}; thin lines are "
                f"pairs, thick ones their mean ({_kept(results)}). α = 0 is the background, α = 1 "
                "the other prompt.",
            ),
            folded(
                f"Their shape in numbers ({over})",
                table(header, rows, text=(0, 1, 2), caption=f"{capital(over)}."),
            ),
        ]
    )  # fmt: skip


def _kept(results: Results) -> str:
    """Which pairs have curves: the setting keeps those of all, of the first so many, or none."""
    kept = results.settings.get("curves", {}).get("keep", "all")
    pairs = sorted(results.heads["pair"].unique())
    if kept == "none":
        return "none is kept"
    return named_pairs(results, pairs if kept == "all" else pairs[: int(kept)])


def shown_heads(results: Results) -> list[tuple[int, int, str]]:
    """Return the heads whose curves the study shows, with the reasons."""
    report = results.settings.get("report", {})
    return choose_heads(results.heads, int(report.get("heads_shown", 6)), report.get("heads") or ())
