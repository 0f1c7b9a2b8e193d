"""What a model's folder says it is, where that decides whether its weights can be used.

A LoRA adapter, a quantised checkpoint, a model or a tokenizer that only runs by code of its own, an
architecture that transformers does not know, a model that is no decoder: refused, each with its
remedy. Code of its own beside an architecture that transformers knows is not run, and that is said.
No file of a folder is ever run as a program, and nobody is asked whether it may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "adapters.safetensors",
    "adapters.npz",
    "pytorch_lora_weights.safetensors",
)
"""The weights of an adapter, as peft, MLX and diffusers call them."""
LOOKED_AT = (ADAPTER, *ADAPTER_WEIGHTS)
"""Files that are looked for here and are no part of a model folder."""

QUANTISED = ("quantization_config", "compression_config")

CHOOSE = "Choose a decoder-only (causal) language model; docs/architectures.md lists those tried."


def check_declared(folder: Path, described: str, loadable: str) -> list[str]:
    """Refuse what cannot be used by what its files declare; return what is worth saying.

    ``described`` names the model in messages, ``loadable`` is what `from_pretrained` takes.
    Raises UserError.
    """
    refuse_adapter(folder, described)
    config = _read(folder / "config.json")
    _refuse_quantised(config, described, loadable)
    remarks = _own_code(folder, config, described)
    return remarks + _refuse_unknown(config, described)


def refuse_adapter(folder: Path, described: str) -> None:
    """Raise UserError when ``folder`` holds an adapter, with its model or without."""
    found = [name for name in LOOKED_AT if (folder / name).exists()]
    if not found:
        return
    adapter = _read(folder / ADAPTER)
    kind = str(adapter.get("peft_type") or "LoRA")
    base = adapter.get("base_model_name_or_path") or "its base model"
    raise UserError(
        f"{described} holds a {kind} adapter of {base} ({found[0]}), which is no model by itself:"
        " what it changes would be left out. Merge it once, and use the new folder as a model of"
        ' source `local`:\n  python -c "from peft import AutoPeftModelForCausalLM as M; from'
        f" transformers import AutoTokenizer as T; M.from_pretrained('{folder}').merge_and_unload()"
        f".save_pretrained('merged'); T.from_pretrained('{base}').save_pretrained('merged')\"\n"
        f"To measure the base model without the adapter, put it into a folder without {found[0]}."
    )


def _refuse_quantised(config: Mapping[str, Any], described: str, loadable: str) -> None:
    for part in (config, config.get("text_config")):
        for key in QUANTISED:
            settings = part.get(key) if isinstance(part, Mapping) else None
            if not settings:
                continue
            method = settings.get("quant_method") if isinstance(settings, Mapping) else None
            raise UserError(
                f"{described} is quantised (config.json: {key}{f', {method}' if method else ''});"
                " Counterpoint measures models in float32, float64 or bfloat16. Use the checkpoint"
                " that was quantised, or de-quantise it once where its quantiser is installed, and"
                ' use the new folder as a model of source `local`:\n  python -c "from transformers'
                " import AutoModelForCausalLM as M, AutoTokenizer as T;"
                f" M.from_pretrained('{loadable}').dequantize().save_pretrained('plain');"
                f" T.from_pretrained('{loadable}').save_pretrained('plain')\""
            )


def _own_code(folder: Path, config: Mapping[str, Any], described: str) -> list[str]:
    """Sentences on code of the folder's own that is not run."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    remarks = []
    kind = str(config.get("model_type"))
    code = config.get("auto_map")
    if isinstance(code, Mapping) and code:
        names = ", ".join(map(str, code.values()))
        if kind not in CONFIG_MAPPING:
            raise UserError(
                f"{described} is a model of its own code (config.json: auto_map, {names}), which"
                f" Counterpoint never runs, and transformers knows no model_type {kind!r}. Choose a"
                " version of the model that transformers knows by itself, if its makers provide one"
                " (often under a name that ends in -hf)."
            )
        remarks.append(
            f"config.json names code of its own ({names}), which is not run: the model is"
            f" transformers' own {kind}."
        )
    stated = config.get("architectures") or []
    named = [str(one) for one in (stated if isinstance(stated, list) else [stated])]
    if kind in CONFIG_MAPPING and not code and not any(hasattr(transformers, n) for n in named):
        remarks += [
            f"config.json says architecture {name}, which transformers does not have: the model is"
            f" transformers' own {kind}."
            for name in named[:1]
        ]
    tokenizer = _read(folder / "tokenizer_config.json")
    code = tokenizer.get("auto_map")
    if isinstance(code, Mapping):
        code = code.get("AutoTokenizer")
    if code:
        names = ", ".join(str(one) for one in ([code] if isinstance(code, str) else code) if one)
        if not (folder / "tokenizer.json").exists():
            raise UserError(
                f"{described} has a tokenizer of its own code (tokenizer_config.json: auto_map,"
                f" {names}), which Counterpoint never runs, and no tokenizer.json. Put a"
                " tokenizer.json that its makers provide beside it, or choose another version of"
                " the model."
            )
        remarks.append(
            f"tokenizer_config.json names code of its own ({names}), which is not run: the tokens"
            " are those of tokenizer.json."
        )
    return remarks


def _refuse_unknown(config: Mapping[str, Any], described: str) -> list[str]:
    """A sentence on what a model reads besides text."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from counterpoint.models.automatic_class import automatic_class

    kind = config.get("model_type")
    if not kind:
        raise UserError(
            f"{described}: config.json names no model_type, so that nothing says which architecture"
            " its weights are of. Fetch config.json again, or save the model with save_pretrained."
        )
    if kind not in CONFIG_MAPPING:
        raise UserError(
            f"{described}: config.json says model_type {kind!r}, which transformers"
            f" {transformers.__version__} does not know. Correct it if it is misspelt; for a model"
            " that is newer than this release, choose another, or update transformers."
        )
    # A decoder may be saved alone, and then says so.
    default = getattr(CONFIG_MAPPING[kind], "is_encoder_decoder", False)
    if config.get("is_encoder_decoder", default):
        raise UserError(
            f"{described} ({kind}) is an encoder-decoder: its decoder reads an encoder's output"
            f" besides the prompt. {CHOOSE}"
        )
    if automatic_class(kind) is None:
        raise UserError(
            f"{described}: transformers has no language model of model_type {kind!r}, that is none"
            f" that continues a text. {CHOOSE}"
        )
    if isinstance(config.get("text_config"), Mapping):
        return [f"{described} ({kind}) reads more than text; what it does with text is measured."]
    return []


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, or {} where there is no such file or it is something else."""
    try:
        found = parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
