"""How much is done to validate the pairs of a head; the source of these settings. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoint.counterfactuals.setting_fields import setting


@dataclass(frozen=True)
class Depth:
    """How much is done for each method's pairs, best first; ``seed`` is that of contexts and
    draws. In a configuration ``pairs`` is called ``validated``."""

    pairs: int = setting(
        5, "Pairs of each head and method, those it prefers first, that are validated.", minimum=1
    )
    transferred: int = setting(
        1,
        "How many of them have their edit tried in fresh contexts as well (some 12 seconds each"
        " on one core).",
        minimum=0,
    )
    transfers: int = setting(20, "Fresh contexts for each of these pairs.", minimum=0)
    nulls: int = setting(
        20,
        "Draws of random answers on each validated pair, to see what chance gives.",
        minimum=0,
    )
    seed: int = 0
