"""The tokenizer of a model's folder: the one that its files hold, whatever class they name.

transformers 5 rebuilds the tokenizers of 56 classes (GPT2, GPTNeoX, Qwen2, Gemma, Llama, Cohere …)
from vocabulary and merges and puts the class's own normaliser and pre-tokenizer in the place of
those in `tokenizer.json` (huggingface/transformers#45812). The texts still come back from their
tokens, so nothing notices. Here `tokenizer.json` decides every id. Folders without one are
converted (`slow_tokenizers`) or refused.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
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
KEPT_SETTINGS = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "model_input_names",
    "split_special_tokens",
)
"""Settings of tokenizer_config.json that change no id of a text, or that the file does not hold."""


def load_tokenizer(folder: str | os.PathLike[str]) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the model in ``folder``. No code of the folder is run.

    Ids are those of `tokenizer.json` where there is one. Special and added tokens are those that
    `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` name; of a special
    token that none of them mentions, the default of the named class where the vocabulary has it
    (GPT-2's `<|endoftext|>`). Naming a token changes no id: one that the file reads as ordinary
    text (a `!` for padding) stays ordinary. What is set for training or batches (dropout,
    truncation, padding, clean-up of decoded text) is off.

    Raises UserError for a file that is damaged, for files that give a token two ids, for a
    beginning of sequence that no file gives an id, and where there is no `tokenizer.json` and the
    rest does not fix the ids.
    """

    place = Path(folder)
    settings = _read(place / CONFIG)
    named_class = _class_name(place, settings)
    special, extra = _special_tokens(place, settings)
    kept = {key: settings[key] for key in KEPT_SETTINGS if _is_sound(key, settings.get(key))}
    template = _chat_template(place, settings)
    if template is not None:
        kept["chat_template"] = template
    if (place / FILE).is_file():
        backend = _from_file(place / FILE)
    else:
        from counterpoint.models.tokenizers.slow_tokenizers import convert

        backend, own = convert(place, named_class, settings)
        special = own | special
        kept |= {
            key: settings[key] for key in ("add_bos_token", "add_eos_token") if key in settings
        }
    _add_tokens(backend, place, settings, special, extra)
    special = _class_defaults(named_class, backend) | special
    special = {
        key: token for key, token in special.items() if _is_known(place, key, token, backend)
    }
    # Without an id, transformers would give them new ones.
    extra = [
        token
        for token in extra
        if backend.token_to_id(str(token)) is not None and not is_ordinary(token, backend)
    ]
    if extra:
        kept["extra_special_tokens"] = extra
    return build(backend, special | kept, name=os.fspath(folder))


def build(backend: Tokenizer, settings: Mapping[str, Any], *, name: str) -> PreTrainedTokenizerFast:
    """Put transformers' interface around ``backend``, which keeps deciding the ids."""
    from transformers import PreTrainedTokenizerFast

    backend.no_truncation()
    backend.no_padding()
    if getattr(backend.model, "dropout", None) is not None:
        backend.model.dropout = None
    ordinary = {key for key in SPECIAL if is_ordinary(settings.get(key), backend)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        **{key: value for key, value in settings.items() if key not in ordinary},
    )
    # As arguments they would be cut out of every text first. Other names of theirs serve nobody.
    for key in ordinary & {"bos_token", "eos_token"}:
        setattr(tokenizer, key, str(settings[key]))
    # Not among the arguments: of a large vocabulary with a name, transformers asks the hub.
    tokenizer.name_or_path = tokenizer.init_kwargs["name_or_path"] = name
    return tokenizer


def settle_tokenizer(folder: str | os.PathLike[str]) -> None:
    """Write the tokenizer of ``folder`` so that every reader finds the same ids in it.

    `tokenizer.json` then holds all tokens, also those that only a configuration named or that were
    converted, and `tokenizer_config.json` names no class that transformers would rebuild.
    Raises UserError where `load_tokenizer` does.
    """
    tokenizer = load_tokenizer(folder)
    # Several named templates would become a folder of their own; they stay in the configuration.
    one_template = not isinstance(tokenizer.chat_template, dict)
    tokenizer.save_pretrained(folder, save_jinja_files=one_template)
    # What they said stands in the other two now, which they would overrule.
    for name in ("special_tokens_map.json", "added_tokens.json"):
        (Path(folder) / name).unlink(missing_ok=True)


def contradictions(folder: str | os.PathLike[str]) -> list[str]:
    """Sentences on files beside `tokenizer.json` that say otherwise, where that file decides.

    Files that cannot be read are passed over: nothing else reads them.
    """
    place = Path(folder)
    found = []
    try:
        saved = json.loads((place / FILE).read_text(encoding="utf-8"))["model"]
        vocabulary, merges = saved["vocab"], saved.get("merges") or []
        own = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in merges]
        listed = json.loads((place / "vocab.json").read_text(encoding="utf-8"))
        known = _from_file(place / FILE)
        other = [text for text, number in listed.items() if known.token_to_id(text) != number]
        if other:
            found.append(
                f"vocab.json gives {len(other)} tokens other ids than {FILE} ({other[0]!r}, for"
                f" example): the ids are those of {FILE}."
            )
        if isinstance(vocabulary, dict):
            lines = (place / "merges.txt").read_text(encoding="utf-8").split("\n")
            pairs = [tuple(line.split(" ")) for line in lines if line]
            if pairs and pairs[0][0].startswith("#version"):
                pairs = pairs[1:]
            if pairs != own:
                found.append(f"merges.txt has other merges than {FILE}, whose merges are used.")
    except (OSError, ValueError, LookupError, AttributeError, TypeError, UserError):
        pass
    return found


# -------------------------------------------------------------------------------------------- files


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
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


def _from_file(path: Path) -> Tokenizer:
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
    saved = json.loads(path.read_text(encoding="utf-8"))
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


def _class_name(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The tokenizer class that the folder names, or that transformers has for its model."""
    configuration = _read(folder / "config.json")
    named = settings.get("tokenizer_class") or configuration.get("tokenizer_class")
    if named is None:
        from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

        named = TOKENIZER_MAPPING_NAMES.get(str(configuration.get("model_type")))
    return None if named is None else str(named).removesuffix("Fast")


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> Any:
    """The template of chats, or several with names; None where there is none that can be read."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    given = settings.get("chat_template")
    if isinstance(given, list):
        named = all(
            isinstance(each, Mapping) and {"name", "template"} <= set(each) for each in given
        )
        return given if named else None
    return given if isinstance(given, str | dict) else None


def _is_sound(key: str, value: Any) -> bool:
    """Whether a kept setting is one that transformers can read; none of them changes an id."""
    if key.endswith("_side"):
        return value in ("left", "right")
    if key == "model_max_length":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if key == "split_special_tokens":
        return isinstance(value, bool)
    if key == "model_input_names":
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    return value is not None


# ----------------------------------------------------------------------------------- special tokens


def _special_tokens(folder: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The special tokens that have a name, None where one is said to be absent, and the others."""
    # `special_tokens_map.json` is the older place: it decides where tokenizer_config.json has no
    # table of its tokens, as in transformers.
    old = _read(folder / "special_tokens_map.json")
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


def _is_known(folder: Path, key: str, token: Any, backend: Tokenizer) -> bool:
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


def _add_tokens(
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
    for text, number in _read(folder / "added_tokens.json").items():
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


def _class_defaults(name: str | None, backend: Tokenizer) -> dict[str, Any]:
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
