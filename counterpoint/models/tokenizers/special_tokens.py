"""Special and added tokens: which a folder's files name, and the ids that they must have."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.models.tokenizers.tokenizer_files import CONFIG, read_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer


SPECIAL = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""The special tokens that have a name, as transformers has them."""


def named_tokens(folder: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The special tokens that have a name, None where one is said to be absent, and the others."""
    # `special_tokens_map.json` is the older place: it decides where tokenizer_config.json has no
    # table of its tokens, as in transformers.
    old = read_object(folder / "special_tokens_map.json")
    order = (old, settings) if "added_tokens_decoder" in settings else (settings, old)
    values: dict[str, Any] = {**order[0], **order[1]}
    special = {
        key: None if values[key] in (None, "") else _token(folder, key, values[key])
        for key in SPECIAL
        if key in values
    }
    for key in ("extra_special_tokens", "additional_special_tokens"):
        if values.get(key):
            others = values[key]
            break
    else:
        others = []
    if isinstance(others, Mapping):
        others = list(others.values())
    if not isinstance(others, list):
        others = [others]
    return special, [_token(folder, key, other) for other in others]


def _token(folder: Path, name: str, value: Any) -> Any:
    """A token as it stands in a file: a text, or an object with how it is found in a text."""
    from tokenizers import AddedToken

    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise UserError(
            f"{folder}: {CONFIG} or special_tokens_map.json has {json.dumps(value)[:80]} as a token"
            f" of {name}; expected a text, or an object with its `content`. Correct it there."
        )
    how = {key: bool(value.get(key, False)) for key in ("single_word", "lstrip", "rstrip")}
    special = bool(value.get("special", True))
    return AddedToken(
        str(value["content"]),
        normalized=bool(value.get("normalized", not special)),
        special=special,
        **how,
    )


def is_known(folder: Path, key: str, token: Any, backend: Tokenizer) -> bool:
    """Whether the files give a special token an id, or say that there is none.

    Raises UserError for a beginning of sequence without one: transformers would put it behind the
    last token, where the model's embedding has no row, or one that was never trained.
    """
    if token is None or backend.token_to_id(str(token)) is not None:
        return True
    if key == "bos_token":
        raise UserError(
            f"{folder}: the beginning-of-sequence token {str(token)!r} ({CONFIG} or"
            f" special_tokens_map.json) is not in the vocabulary, so that it has no id. Correct"
            " bos_token there, null where the model has none, or add the file that gives it an id"
            " (added_tokens.json)."
        )
    return False


def is_ordinary(token: Any, backend: Tokenizer) -> bool:
    """Whether a text's tokens hold ``token`` by themselves, without its being marked in any way."""
    if token is None:
        return False
    number = backend.token_to_id(str(token))
    if number is None or number in backend.get_added_tokens_decoder():
        return False
    text = backend.decode([number], skip_special_tokens=False)
    return bool(text) and number in backend.encode(text, add_special_tokens=False).ids


def add_tokens(
    backend: Tokenizer,
    folder: Path,
    settings: Mapping[str, Any],
    special: Mapping[str, Any],
    extra: list[Any],
) -> None:
    """Add the tokens that a configuration names beyond `tokenizer.json`, each with its own id."""
    from tokenizers import AddedToken

    named = {str(token) for token in (*special.values(), *extra) if token is not None}
    tokens: dict[int, tuple[Any, str]] = {}
    for text, number in read_object(folder / "added_tokens.json").items():
        token = AddedToken(text, normalized=text not in named, special=text in named)
        tokens[_id(folder, "added_tokens.json", number)] = token, "added_tokens.json"
    decoder = settings.get("added_tokens_decoder") or {}
    if not isinstance(decoder, Mapping):
        raise UserError(f"{folder}: added_tokens_decoder of {CONFIG} is no object; correct it.")
    for number, value in decoder.items():
        if not isinstance(value, Mapping):
            value = {"content": value}
        tokens[_id(folder, CONFIG, number)] = _token(folder, "added_tokens_decoder", value), CONFIG
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    for number, (token, file) in sorted(tokens.items(), key=lambda item: item[0]):
        text = str(token)
        if text not in present:
            add = (
                backend.add_special_tokens
                if getattr(token, "special", False)
                else backend.add_tokens
            )
            add([token])
        found = backend.token_to_id(text)
        if found != number:
            raise UserError(
                f"{folder}: {file} gives the token {text!r} the id {number}, the vocabulary gives"
                f" it {found}. The files belong to different tokenizers: take all of them from the"
                " model's own folder, or correct the id."
            )


def _id(folder: Path, file: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UserError(
            f"{folder}: {file} has {value!r} for the id of an added token; expected a whole number."
        ) from None


def class_defaults(name: str | None, backend: Tokenizer) -> dict[str, Any]:
    """The special tokens of transformers' class ``name`` itself that the vocabulary knows."""
    if name is None:
        return {}
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    known = tokenizer_class_from_name(name)
    if known is None:
        return {}
    parameters = inspect.signature(known.__init__).parameters
    defaults = {key: parameters[key].default for key in SPECIAL if key in parameters}
    return {
        key: str(value)
        for key, value in defaults.items()
        if value not in (None, inspect.Parameter.empty)
        and backend.token_to_id(str(value)) is not None
    }
