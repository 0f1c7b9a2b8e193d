"""A tokenizer's files, read; refused where they are damaged or their ids are not as they state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer


FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = parsed_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}). {_again(path)}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is a JSON {type(value).__name__}, expected an object {{...}}.")
    return value


def _again(path: Path) -> str:
    with path.open("rb") as stream:
        if stream.read(40).startswith(b"version https://git-lfs"):
            return "It is a git-lfs pointer: run `git lfs pull` in the folder."
    return "Save or download it again."


def backend_of_file(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions
        raise UserError(
            f"{path} is not a tokenizer that can be read ({error}). {_again(path)}"
        ) from None
    _check_ids(path, tokenizer)
    return tokenizer


def _check_ids(path: Path, tokenizer: Tokenizer) -> None:
    """Raise UserError where the library reads other ids than `tokenizer.json` has.

    It gives an added token the next free id, whatever stands in the file, and takes two tokens of
    one id for two.
    """
    saved = parsed_json(path.read_text(encoding="utf-8"))
    for added in saved.get("added_tokens") or []:
        found = tokenizer.token_to_id(added["content"])
        if found != added["id"]:
            raise UserError(
                f"{path} gives the added token {added['content']!r} the id {added['id']}, which is"
                f" {found} by its vocabulary (the next one that is free, or the token's own there)."
                " It was edited, or put together from two tokenizers: take the model's own file."
            )
    vocabulary = saved["model"].get("vocab")
    if isinstance(vocabulary, dict) and len(set(vocabulary.values())) < len(vocabulary):
        first: dict[int, str] = {}
        one, other = next(
            (first[number], text)
            for text, number in vocabulary.items()
            if first.setdefault(number, text) != text
        )
        raise UserError(
            f"{path} gives {one!r} and {other!r} the same id {vocabulary[other]}: take the model's"
            " own file."
        )
