"""Counterpoint: how each attention head moves a language model's answer between two prompts.

The public names, and nothing else; ``import counterpoint`` itself imports none of what they need
(torch, pandas), each name does when it is first used. Three lines give the heads of one pair::

    import counterpoint

    model = counterpoint.load("smollm2-135m-instruct")
    pairs = counterpoint.pairs([(clean, corrupted, " John", " Mary")])
    heads = counterpoint.measure(model, pairs)

`load` takes a name, a folder, or a model in memory; `measure` gives the table of heads, `curves`
their output curves, `interaction_partners` whom they interact with, `answer_effects` and
`token_effects` what they do to other answers and to all tokens; `compose` searches for pairs on
which a head matters and `validate` checks them; `correlations`, `claims`, `stability`,
`sample_sizes` and `variance_components` are said of any table of heads (to which `with_templates`
adds the pairs' templates), and `counterpoint.figures` draws it. docs/package.md shows each by
example.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoint import figures as figures
    from counterpoint.counterfactuals.composing import Composed as Composed
    from counterpoint.counterfactuals.composing import compose as compose
    from counterpoint.counterfactuals.composing import validate as validate
    from counterpoint.errors import UserError as UserError
    from counterpoint.measures.curve_arrays import Curves as Curves
    from counterpoint.measures.measuring import answer_effects as answer_effects
    from counterpoint.measures.measuring import curves as curves
    from counterpoint.measures.measuring import interaction_partners as interaction_partners
    from counterpoint.measures.measuring import measure as measure
    from counterpoint.measures.measuring import token_effects as token_effects
    from counterpoint.models.given_models import load as load
    from counterpoint.models.load import LanguageModel as LanguageModel
    from counterpoint.pairs.given_pairs import pairs as pairs
    from counterpoint.statistics.claims import claims as claims
    from counterpoint.statistics.correlations import correlations as correlations
    from counterpoint.statistics.sample_sizes import sample_sizes as sample_sizes
    from counterpoint.statistics.stability import stability as stability
    from counterpoint.statistics.templates import with_templates as with_templates
    from counterpoint.statistics.variance_components import (
        variance_components as variance_components,
    )

__version__ = "0.1.0"

# Where each name stands. Texts and not imports: `workflow.code_version` would take those for what
# every rule of the workflow depends on.
_HOMES = {
    "Composed": "counterfactuals.composing",
    "Curves": "measures.curve_arrays",
    "LanguageModel": "models.load",
    "UserError": "errors",
    "answer_effects": "measures.measuring",
    "claims": "statistics.claims",
    "compose": "counterfactuals.composing",
    "correlations": "statistics.correlations",
    "curves": "measures.measuring",
    "interaction_partners": "measures.measuring",
    "load": "models.given_models",
    "measure": "measures.measuring",
    "sample_sizes": "statistics.sample_sizes",
    "stability": "statistics.stability",
    "token_effects": "measures.measuring",
    "validate": "counterfactuals.composing",
    "variance_components": "statistics.variance_components",
    "with_templates": "statistics.templates",
}
# A room is a name by itself; the room `pairs` can be called, too (`pairs.given_pairs.pairs`).
_ROOMS = ("figures", "pairs")

__all__ = [
    "Composed",
    "Curves",
    "LanguageModel",
    "UserError",
    "__version__",
    "answer_effects",
    "claims",
    "compose",
    "correlations",
    "curves",
    "figures",
    "interaction_partners",
    "load",
    "measure",
    "pairs",
    "sample_sizes",
    "stability",
    "token_effects",
    "validate",
    "variance_components",
    "with_templates",
]


def __getattr__(name: str) -> object:
    """A public name, imported when it is first asked for (PEP 562)."""
    if name in _ROOMS:
        return import_module(f"counterpoint.{name}")
    if name in _HOMES:
        found = getattr(import_module(f"counterpoint.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'counterpoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names alone, as a notebook completes them, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
