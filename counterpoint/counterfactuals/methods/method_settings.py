"""The settings that single methods of search have: every default, limit and meaning.

This is the source; config.schema.yaml and config.yaml show it (see `setting_fields`).
No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from counterpoint.counterfactuals.setting_fields import setting


@dataclass(frozen=True)
class VariantSettings:
    """What searches by variants have in common; the defaults are the atlas's."""

    changes: int = setting(
        1, "The most tokens in which the prompts of a pair differ.", minimum=1, maximum=2
    )
    surprise: float = setting(
        0.5,
        "Nats per token above the start prompts' mean loss that either prompt may have.",
        minimum=0,
    )
    largest: float = setting(
        10.0, "The most nats that a single token may have from the edit on.", minimum=0
    )
    variants: int = setting(24, "Prompts that are run at a time.", minimum=2)
    proposals: int = setting(
        60, "Likeliest tokens at a position that variants are made with.", minimum=2
    )
    suffix: int = setting(
        8, "Positions from the first that differs to the end, at most.", minimum=2
    )
    patched: int = setting(
        0, "Pairs of a batch of variants on which the head is patched.", minimum=0
    )
    readings: int = setting(
        12, "Prompts of a batch, each with an end and answers, that are differentiated.", minimum=1
    )
    checks: int = setting(
        3, "Pairs of a batch, the most promising, on which rivals are patched.", minimum=1
    )
    rivals: int = setting(
        16, "Heads that are patched on them, the strongest by the estimate.", minimum=1
    )
    elites: int = setting(4, "The best pairs that are kept for each head.", minimum=1)
    samples: int = setting(48, "Sentences drawn from the model at a time.", minimum=1)
    length: int = setting(
        16,
        "Tokens of such a sentence, or as many as the longest start prompt has.",
        minimum=1,
    )
    # The texts of many kinds are `language.opening_texts.VARIED`.
    varied: bool = setting(
        False,
        "Whether such sentences begin as texts of many kinds do, and not as the start prompts.",
    )
    explore: float = setting(
        0.4, "The share of steps that take a fresh sentence.", minimum=0, maximum=1
    )
    gradient: bool = setting(
        True,
        "Whether half of the tokens are the best by the gradient; false: all are drawn by"
        " likelihood.",
    )


@dataclass(frozen=True)
class FluentSettings(VariantSettings):
    """Smaller batches than the atlas's, since one head is served."""

    changes: int = 2
    variants: int = 16
    suffix: int = 12
    patched: int = 12
    readings: int = 4
    checks: int = 2
    rivals: int = 6
    elites: int = setting(8, "The best pairs that are kept to work on.", minimum=1)
    samples: int = 24
    length: int = 32
    varied: bool = True
    explore: float = 0.6
    polish: float = setting(
        0.15,
        "The last share of the budget, in which only the best pair is worked on, if the head comes"
        " first on it.",
        minimum=0,
        maximum=1,
    )
    # What an edit promises: `methods.start_choice`.
    tries: int = setting(6, "Edits of a sentence that are run to see where to edit it.", minimum=1)
    places: int = setting(
        3,
        "After how many sentences that were edited new ones are sampled; of each sample twice as"
        " many are looked at, and the most promising of all are edited next.",
        minimum=1,
    )
    contexts: int = setting(
        4,
        "Fresh contexts in which the edit of a pair is tried on which the head is well ahead.",
        minimum=1,
    )


@dataclass(frozen=True)
class EvolutionSettings:
    """A generation's children may replace as many pairs of the population.

    Noise that is to reach another token must be several times as long as the way there, since few
    of its directions lead to one: with SmolLM2 0.7 changed no token of a prompt of 17, 2.5 about
    two, 4 half of them.
    """

    population: int = setting(24, "Pairs of a generation.", minimum=4)
    children: int = setting(8, "Children of a generation.", minimum=1)
    step: float = setting(
        0.5,
        "Length of a step along the gradient, per position, in median distances of two tokens.",
        minimum=0,
    )
    noise: float = setting(
        2.5, "Length of the noise, per position, in median distances of two tokens.", minimum=0
    )
    enough: float = setting(10.0, "The LD change that ends a search.", above=0)


@dataclass(frozen=True)
class DescentSettings:
    """A descent that begins again does so from the next start."""

    aggregator: Literal["upgrad", "mgda"] = setting(
        "upgrad", "How torchjd makes one direction of the objectives' gradients."
    )
    step: float = setting(
        2.0,
        "Length of a step, over all positions, in median distances of two tokens.",
        above=0,
    )
    momentum: float = setting(0.5, "The share of the last step that stays.", minimum=0, below=1)
    noise: float = setting(
        0.5,
        "Length of the noise at the beginning, per position, in median distances of two tokens.",
        minimum=0,
    )
    patience: int = setting(
        15, "Steps without a new pair after which a descent begins again.", minimum=1
    )


OWN_SETTINGS: dict[str, type] = {
    "fluent": FluentSettings,
    "evolution": EvolutionSettings,
    "descent": DescentSettings,
}
"""The settings of each method that has any, by its key in the configuration."""

SETTINGS_SHARED_WITH = {"proposal_only": "fluent"}
"""Methods whose settings are those of another one."""


def own_settings(method: str) -> type | None:
    """The dataclass of the settings that ``method`` has; None where it has none."""
    return OWN_SETTINGS.get(SETTINGS_SHARED_WITH.get(method, method))
