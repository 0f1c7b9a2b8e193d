"""A setting of a search: its default, its meaning and its limits, written once.

The dataclasses whose fields are made by `setting` are the source. The parts of config.schema.yaml
and config.yaml that show them are written from them (`counterpoint.workflow.shown_settings`), and a
test fails where they differ.
"""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}


def setting(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a dataclass of settings; ``minimum`` and ``maximum`` are allowed values, ``above``
    and ``below`` are not."""
    limits = {
        "minimum": minimum,
        "maximum": maximum,
        "exclusiveMinimum": above,
        "exclusiveMaximum": below,
    }
    given = {key: limit for key, limit in limits.items() if limit is not None}
    return field(default=default, metadata={"description": description, **given})


def json_schema(settings: type) -> dict[str, dict[str, Any]]:
    """The JSON schema of each setting of a dataclass, by its name, in the order of its fields.

    A subclass that gives a field another default alone keeps what the field means. Fields that
    `setting` did not make are left out. Raises TypeError for a type that no setting has.
    """
    hints = get_type_hints(settings)
    meanings = {
        one.name: one.metadata
        # A class's own fields overwrite those of the class that it is made from.
        for base in reversed(settings.__mro__)
        if is_dataclass(base)
        for one in fields(base)
        if one.metadata
    }
    found = {}
    for one in fields(settings):
        if one.name not in meanings:
            continue
        limits = dict(meanings[one.name])
        found[one.name] = {
            "description": limits.pop("description"),
            **_allowed(hints[one.name]),
            **limits,
            "default": one.default,
        }
    return found


def _allowed(hint: Any) -> dict[str, Any]:
    """The schema of a type: a plain one, alternatives of plain ones, or a list of words."""
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    kinds = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    if not all(kind in _TYPES for kind in kinds):
        raise TypeError(f"{hint} is not the type of a setting")
    names = [_TYPES[kind] for kind in kinds]
    return {"type": names[0] if len(names) == 1 else names}
