"""Counterpoint: how each attention head moves a language model's answer between two prompts.

The public names, and nothing else; ``import counterpoint`` itself imports none of what they need
(torch, pandas), each name does when it is first used. Three lines give the heads of one pair::

    import counterpoint

    model = counterpoint.load("smollm2-135m-instruct")
    pairs = counterpoint.pairs([(clean, corrupted, " John", " Mary")])
    heads = counterpoint.measure(model, pairs)

`load` takes a name, a folder, or a model in memory; `measure` gives the table of heads, `curves`
their output curves, `interaction_partners` whom they interact with, `positions` where in the prompt
they act (`position_curves` how), `roles` which part of them carries their effect,
`attention_patterns` what they look at, `edges` whom they hear, `answer_effects` and `token_effects`
what they do to other answers and to all tokens, `circuit` few nodes that answer as the whole model
does and `edge_circuit` few edges; `compose` searches for pairs on which a head matters and
`validate` checks them; `correlations`, `claims`, `stability`, `sample_sizes` and
`variance_components` are said of any table of heads (to which `with_templates` adds the pairs'
templates), and `counterpoint.figures` draws it. docs/package.md shows each by example.
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
    from counterpoint.measures.finding_circuits import circuit as circuit
    from counterpoint.measures.finding_edge_circuits import edge_circuit as edge_circuit
    from counterpoint.measures.measuring import curves as curves
    from counterpoint.measures.measuring import interaction_partners as interaction_partners
    from counterpoint.measures.measuring import measure as measure
    from counterpoint.measures.measuring_answers import answer_effects as answer_effects
    from counterpoint.measures.measuring_answers import token_effects as token_effects
    from counterpoint.measures.measuring_edges import edges as edges
    from counterpoint.measures.measuring_position_curves import position_curves as position_curves
    from counterpoint.measures.measuring_positions import positions as positions
    from counterpoint.measures.measuring_roles import attention_patterns as attention_patterns
    from counterpoint.measures.measuring_roles import roles as roles
    from counterpoint.measures.pattern_arrays import AttentionPatterns as AttentionPatterns
    from counterpoint.measures.tables.circuit_table import CircuitTables as CircuitTables
    from counterpoint.measures.tables.edge_circuit_table import (
        EdgeCircuitTables as EdgeCircuitTables,
    )
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
    "AttentionPatterns": "measures.pattern_arrays",
    "CircuitTables": "measures.tables.circuit_table",
    "Composed": "counterfactuals.composing",
    "Curves": "measures.curve_arrays",
    "EdgeCircuitTables": "measures.tables.edge_circuit_table",
    "LanguageModel": "models.load",
    "UserError": "errors",
    "answer_effects": "measures.measuring_answers",
    "attention_patterns": "measures.measuring_roles",
    "circuit": "measures.finding_circuits",
    "claims": "statistics.claims",
    "compose": "counterfactuals.composing",
    "correlations": "statistics.correlations",
    "curves": "measures.measuring",
    "edge_circuit": "measures.finding_edge_circuits",
    "edges": "measures.measuring_edges",
    "interaction_partners": "measures.measuring",
    "load": "models.given_models",
    "measure": "measures.measuring",
    "position_curves": "measures.measuring_position_curves",
    "positions": "measures.measuring_positions",
    "roles": "measures.measuring_roles",
    "sample_sizes": "statistics.sample_sizes",
    "stability": "statistics.stability",
    "token_effects": "measures.measuring_answers",
    "validate": "counterfactuals.composing",
    "variance_components": "statistics.variance_components",
    "with_templates": "statistics.templates",
}
# A room is a name by itself; the room `pairs` can be called, too (`pairs.given_pairs.pairs`).
_ROOMS = ("figures", "pairs")

__all__ = [
    "AttentionPatterns",
    "CircuitTables",
    "Composed",
    "Curves",
    "EdgeCircuitTables",
    "LanguageModel",
    "UserError",
    "__version__",
    "answer_effects",
    "attention_patterns",
    "circuit",
    "claims",
    "compose",
    "correlations",
    "curves",
    "edge_circuit",
    "edges",
    "figures",
    "interaction_partners",
    "load",
    "measure",
    "pairs",
    "position_curves",
    "positions",
    "roles",
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
