"""Whether the model of a folder can be measured, from its configuration alone, before it is loaded.

What decides is `architecture_support`, on modules that torch makes on its meta device.
"""

from __future__ import annotations

from pathlib import Path

from counterpoint.errors import UserError
from counterpoint.files.yaml_and_json import parsed_json
from counterpoint.models.architecture_support import discover
from counterpoint.models.automatic_class import language_part
from counterpoint.models.declared_model_kind import check_declared
from counterpoint.models.module_names import ModuleNames

UNKNOWN = (UserError,)
"""What `keep_names` may raise: an architecture that cannot be measured, and why."""


def keep_names(folder: str | Path) -> ModuleNames:
    """The names of the modules of the model in ``folder``, from its configuration alone.

    Neither weights nor tokenizer are read, so that a model can be refused as soon as it is there.
    Raises UserError, with the reason, for an architecture that cannot be measured or built.
    """
    import torch
    from transformers import AutoConfig

    # Whatever a library may raise of a configuration that it did not write, it is the reason.
    try:
        parsed_json((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_built(folder, "read its config.json", error) from error
    check_declared(Path(folder), str(folder), str(folder))
    try:
        configuration = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise _not_built(folder, "read its config.json", error) from error
    try:
        kind, configuration = language_part(configuration)
        with torch.device("meta"):
            hf = kind.from_config(configuration, attn_implementation="eager")
    except Exception as error:
        raise _not_built(folder, "build the model", error) from error
    return discover(hf)


def _not_built(folder: str | Path, what: str, error: Exception) -> UserError:
    said = " ".join(str(error).split())
    return UserError(
        f"{folder}: transformers cannot {what}: {type(error).__name__}: {said[:300]}. Choose a"
        " model whose architecture transformers has as a causal language model, without code of its"
        " own."
    )
