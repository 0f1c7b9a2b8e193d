"""The tokenizer of a model's folder: the one that its files hold, whatever class they name.

transformers 5 rebuilds the tokenizers of 56 classes (GPT2, GPTNeoX, Qwen2, Gemma, Llama, Cohere …)
from vocabulary and merges and puts the class's own normaliser and pre-tokenizer in the place of
those in `tokenizer.json` (huggingface/transformers#45812). The texts still come back from their
tokens, so nothing notices. Here `tokenizer.json` decides every id. Folders without one are
converted (`slow_tokenizers`) or refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.models.tokenizers.special_tokens import (
    SPECIAL,
    add_tokens,
    class_defaults,
    is_known,
    is_ordinary,
    named_tokens,
)
from counterpoint.models.tokenizers.tokenizer_files import (
    CONFIG,
    FILE,
    backend_of_file,
    read_object,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


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
    settings = read_object(place / CONFIG)
    named_class = _class_name(place, settings)
    special, extra = named_tokens(place, settings)
    kept = {key: settings[key] for key in KEPT_SETTINGS if _is_sound(key, settings.get(key))}
    template = _chat_template(place, settings)
    if template is not None:
        kept["chat_template"] = template
    if (place / FILE).is_file():
        backend = backend_of_file(place / FILE)
    else:
        from counterpoint.models.tokenizers.slow_tokenizers import convert

        backend, own = convert(place, named_class, settings)
        special = own | special
        kept |= {
            key: settings[key] for key in ("add_bos_token", "add_eos_token") if key in settings
        }
    add_tokens(backend, place, settings, special, extra)
    special = class_defaults(named_class, backend) | special
    special = {key: token for key, token in special.items() if is_known(place, key, token, backend)}
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
        saved = parsed_json((place / FILE).read_text(encoding="utf-8"))["model"]
        vocabulary, merges = saved["vocab"], saved.get("merges") or []
        own = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in merges]
        listed = parsed_json((place / "vocab.json").read_text(encoding="utf-8"))
        known = backend_of_file(place / FILE)
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


def _class_name(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The tokenizer class that the folder names, or that transformers has for its model."""
    configuration = read_object(folder / "config.json")
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
