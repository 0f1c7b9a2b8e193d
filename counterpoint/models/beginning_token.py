"""The token at the beginning of each prompt: which it is, and the same study measured without it.

Models read the first token in a way of their own (attention rests on it), so whether a
beginning-of-sequence token (BOS) stands before a prompt changes which heads carry the answer. With
`prepend_bos: both` a study is measured with it, as everything else of the study is, and its scores
once more without it, on the same pairs less that token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterpoint.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

BOTH = "both"
WITHOUT = "without_bos"
"""The folder, in a study's own, of its scores without the token."""

PROMPTS = ("clean_tokens", "corrupted_tokens")


def describe(tokenizer: PreTrainedTokenizerBase, prepend_bos: bool) -> dict[str, Any]:
    """Which token is put before each prompt, as plain JSON values.

    Keys: ``token`` (its text) and ``id``, both None where none is put; ``why``, a sentence; and
    ``added_by_tokenizer``, whether the tokenizer would put it there by itself.
    """
    id_ = tokenizer.bos_token_id
    own = list(tokenizer.encode("a"))[:1] == [id_] and id_ is not None
    if not prepend_bos:
        token, why = None, "none, since prepend_bos is false"
    elif id_ is None:
        token, why = None, "none, since the tokenizer has no beginning-of-sequence token"
    else:
        token, why = (
            str(tokenizer.bos_token),
            "put before each prompt, since prepend_bos asks for it",
        )
    return {
        "token": token,
        "id": None if token is None else int(id_),
        "why": why,
        "added_by_tokenizer": own,
    }


def measured(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings that every study is measured with, `prepend_bos` being true or false.

    A study that asks for both stands there with the token, under its name, and without it, under
    its name with the folder `WITHOUT`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, study in studies.items():
        found[name] = {**study, "prepend_bos": study["prepend_bos"] is not False}
        if study["prepend_bos"] == BOTH:
            found[f"{name}/{WITHOUT}"] = {**study, "prepend_bos": False}
    return found


def without_beginning(
    pairs: pd.DataFrame, beginning: Mapping[str, Any], model: str
) -> pd.DataFrame:
    """The pairs of a study (`pairs.parquet`) less the token that stands before each prompt.

    ``beginning`` is what `describe` found. Raises UserError, naming the ``model``, where no token
    stands there.
    """
    if beginning["id"] is None:
        raise UserError(
            f"prepend_bos: both asks for the study with and without a beginning-of-sequence token,"
            f" but the tokenizer of {model} has none. Set prepend_bos: false."
        )
    shorter = pairs.copy()
    for name in PROMPTS:
        wrong = [ids[0] for ids in pairs[name] if ids[0] != beginning["id"]]
        if wrong:
            raise ValueError(f"{name} begins with {wrong[0]}, not with {beginning['id']}")
        shorter[name] = [ids[1:] for ids in pairs[name]]
    shorter[["length", "first_difference"]] -= 1
    shorter["aligned_with"] = [
        [max(int(place) - 1, -1) for place in own[1:]] for own in pairs["aligned_with"]
    ]
    return shorter
