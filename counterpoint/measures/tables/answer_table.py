"""The tables of effects on answers and on tokens: of some heads, on any number of pairs.

`measures.answer_effects` computes them. The first table has, for each pair, direction and head, the
changes that patching makes to the answers asked for; the second the tokens that the head raises and
lowers most, on each pair and on the mean over pairs (whose pair is −1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.engine.activations import Activations, Direction
from counterpoint.engine.head_outputs import Units
from counterpoint.errors import UserError
from counterpoint.measures.answer_effects import (
    ORDERS,
    SIDES,
    AnswerEffects,
    OnTokens,
    logit_changes,
    of_means,
)
from counterpoint.measures.tables.shards import (
    Measurement,
    Shard,
    engines,
    read_shard,
    unit_table,
)
from counterpoint.models.load import LanguageModel
from counterpoint.progress import Progress

Head = tuple[int, int]

OF_MEAN = -1
"""The pair of a row that is about the mean over pairs."""

CHANGES = (
    "centred_logit_change",
    "log_probability_change",
    "probability_change",
    "log_probability",
)

ANSWER_COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "layer": "int64",
    "head": "int64",
    "answer": "int64",
    "text": "object",
    "role": "object",
    "logit_change": "float64",
    **dict.fromkeys(CHANGES, "float64"),
}
"""The columns of the table of answers with their kinds."""

TOKEN_COLUMNS = {
    "pair": "int64",
    "direction": "object",
    "layer": "int64",
    "head": "int64",
    "by": "object",
    "side": "object",
    "rank": "int64",
    "token": "int64",
    "text": "object",
    **dict.fromkeys(CHANGES, "float64"),
}
"""The columns of the table of tokens with their kinds."""

CORRECT, INCORRECT, CANDIDATE = "correct", "incorrect", "candidate"


def candidate_ids(
    model: LanguageModel, answers: Sequence[str] | None, pairs: pd.DataFrame, key: str = "answers"
) -> list[int]:
    """The token ids of ``answers``, or of all answers of ``pairs``, each once, ascending.

    ``pairs`` are rows of `pairs.parquet`. Raises UserError, naming ``key``, for texts that are not
    one token each: all of them are listed.
    """
    if answers is None:
        columns = (pairs[f"{side}_tokens"] for side in (CORRECT, INCORRECT))
        return sorted({int(id_) for column in columns for ids in column for id_ in ids})
    found, wrong = [], []
    for text in answers:
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        if len(ids) == 1 and ids[0] < model.d_vocab:
            found.append(int(ids[0]))
            continue
        parts = ", ".join(repr(_text(model, id_)) for id_ in ids[:8])
        wrong.append(f"  {text!r} is {len(ids)} tokens" + (f" ({parts})" if parts else ""))
    if wrong:
        raise UserError(
            f"{key}: an answer must be one token of the model, usually with its leading space:\n"
            + "\n".join(wrong)
        )
    return sorted(set(found))


def score_answers(
    model: LanguageModel,
    shards: Iterable[Shard],
    heads: Sequence[Head],
    candidates: Sequence[int],
    measurement: Measurement,
    *,
    tokens: int = 10,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effects of ``heads`` on ``candidates`` and on each pair's own answers; tokens at both ends.

    ``tokens`` is how many are given on either side. Rows stand by pair, direction as measured,
    layer and head, then by answer, or by order, side and rank.
    """
    heads = sorted(heads)
    tokens = min(tokens, model.d_vocab)
    on_answers: list[pd.DataFrame] = []
    on_tokens: list[pd.DataFrame] = []
    totals: dict[Direction, list[Tensor]] = {}
    n_pairs = 0
    progress = Progress("pairs whose answers are looked at")
    for shard in shards:
        for activations in read_shard(shard, model.device):
            # Logits are looked at, whatever the study's metric is.
            logits = replace(measurement, metric="logit_difference")
            for direction, engine in engines(model, activations, logits).items():
                units, group = _units(model, heads, len(activations.pairs))
                asked = torch.tensor(
                    sorted({*candidates, *_own_answers(activations)}), device=model.device
                )
                effects = AnswerEffects(asked, tokens, group, len(heads))
                logit_changes(engine, direction, units, effects)
                keys = unit_table(activations.pairs.number, direction, units)
                on_answers.append(_answers(model, keys, effects, asked, activations, candidates))
                on_tokens.append(_tokens(model, keys, effects.on_tokens()))
                assert effects.sums is not None
                before = totals.get(direction)
                totals[direction] = (
                    effects.sums
                    if before is None
                    else [one + other for one, other in zip(before, effects.sums, strict=True)]
                )
            n_pairs += len(activations.pairs)
            progress(len(activations.pairs))
    progress.say()
    for direction, sums in totals.items():
        count = torch.full((len(heads),), float(n_pairs), device=model.device)
        keys = pd.DataFrame(
            {
                "pair": OF_MEAN,
                "direction": direction,
                "layer": [layer for layer, _ in heads],
                "head": [head for _, head in heads],
            }
        )
        on_tokens.append(_tokens(model, keys, of_means(sums, count.double(), tokens)))
    place = {name: number for number, name in enumerate(measurement.directions)}
    return (
        _ordered(on_answers, ANSWER_COLUMNS, ["answer"], place),
        _ordered(on_tokens, TOKEN_COLUMNS, ["by", "side", "rank"], place),
    )


def _units(
    model: LanguageModel, heads: Sequence[Head], n_pairs: int
) -> tuple[Units, Int[Tensor, " unit"]]:
    """Each head on each pair, lowest layer first, and which head of the list each is."""
    group = torch.arange(len(heads), device=model.device).repeat_interleave(n_pairs)
    pair = torch.arange(n_pairs, device=model.device).repeat(len(heads))
    layer, head = torch.tensor(heads, device=model.device)[group].unbind(1)
    return Units(pair, layer, head), group


def _own_answers(activations: Activations) -> set[int]:
    pairs = activations.pairs
    return {id_ for answers in (*pairs.correct, *pairs.incorrect) for id_ in answers}


def _answers(
    model: LanguageModel,
    keys: pd.DataFrame,
    effects: AnswerEffects,
    asked: Int[Tensor, " answer"],
    activations: Activations,
    candidates: Sequence[int],
) -> pd.DataFrame:
    """The rows of the answers that are asked for on each pair: the candidates and its own."""
    ids = asked.tolist()
    found = effects.on_answers()
    texts = {id_: _text(model, id_) for id_ in ids}
    pairs = activations.pairs
    role = {number: dict.fromkeys(candidates, CANDIDATE) for number in pairs.number}
    for number, correct, incorrect in zip(
        pairs.number, pairs.correct, pairs.incorrect, strict=True
    ):
        role[number] |= dict.fromkeys(correct, CORRECT) | dict.fromkeys(incorrect, INCORRECT)
    table = keys.loc[keys.index.repeat(len(ids))].reset_index(drop=True)
    table["answer"] = np.tile(ids, len(keys))
    table["text"] = [texts[id_] for id_ in table["answer"]]
    table["role"] = [
        role[pair].get(id_, "") for pair, id_ in zip(table["pair"], table["answer"], strict=True)
    ]
    table["logit_change"] = found.logit.ravel()
    for name, values in zip(
        CHANGES,
        (found.centred, found.log_probability, found.probability, found.background),
        strict=True,
    ):
        table[name] = values.ravel()
    return table[table["role"] != ""]


def _tokens(model: LanguageModel, keys: pd.DataFrame, found: OnTokens) -> pd.DataFrame:
    """A row for each head, order, side and rank."""
    _, n_orders, n_sides, n_ranks = found.token.shape
    each = n_orders * n_sides * n_ranks
    table = keys.loc[keys.index.repeat(each)].reset_index(drop=True)
    table["by"] = np.tile(np.repeat(ORDERS, n_sides * n_ranks), len(keys))
    table["side"] = np.tile(np.repeat(SIDES, n_ranks), len(keys) * n_orders)
    table["rank"] = np.tile(np.arange(1, n_ranks + 1), len(keys) * n_orders * n_sides)
    table["token"] = found.token.ravel()
    texts = {id_: _text(model, int(id_)) for id_ in np.unique(found.token)}
    table["text"] = [texts[id_] for id_ in table["token"]]
    for name, values in zip(
        CHANGES,
        (found.centred, found.log_probability, found.probability, found.background),
        strict=True,
    ):
        table[name] = values.ravel()
    # Forbidden tokens have no change; they are met where few others are.
    return table[table["centred_logit_change"].notna()]


def _text(model: LanguageModel, token: int) -> str:
    """The token's text by itself; an id that the tokenizer does not know has none."""
    text = str(model.tokenizer.decode([token], clean_up_tokenization_spaces=False))
    # Halves of characters cannot be written to a file.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _ordered(
    tables: list[pd.DataFrame],
    columns: dict[str, str],
    last: Sequence[str],
    place: dict[Direction, int],
) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in columns.items()})
    known: dict[str, dict[str, int]] = {
        "direction": {str(name): number for name, number in place.items()},
        "by": {name: number for number, name in enumerate(ORDERS)},
        "side": {name: number for number, name in enumerate(SIDES)},
    }
    keys = ["pair", "direction", "layer", "head", *last]
    return pd.concat(tables, ignore_index=True)[list(columns)].sort_values(
        keys,
        key=lambda column: column.map(known[column.name]) if column.name in known else column,
        ignore_index=True,
    )
