"""One architecture: built tiny, written, loaded as any model is, measured, compared."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.architectures.configurations import Row, configuration
from benchmarks.architectures.reference import Whole
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, background_prompt, other_prompt
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures import quadrature
from counterpoint.measures.joint_slopes import examples_with_heads, joint_slopes
from counterpoint.measures.slopes import values, values_and_slopes
from counterpoint.models.architecture_support import REMEDY
from counterpoint.models.automatic_class import automatic_class
from counterpoint.models.declared_model_kind import CHOOSE
from counterpoint.models.folder_architecture import keep_names
from counterpoint.models.load import load_language_model
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_tokenizer

LENGTH = 9
FIRST_DIFFERENCES = (0, 3, 8)
"""First differing position: at the beginning, within, and at the last position."""

MIDDLE = 3
"""The one that a quick look takes."""

ALPHAS = (0.25, 0.6)
"""Where f is compared along the path; g at the last of them."""

STEPS = 8
"""Gauss-Legendre nodes of IG joint."""

TOLERANCE = 2e-5
"""Largest error that counts as exact, over the largest logit difference, at least 1.

Engine and reference add the same numbers in another order; the largest seen is 4e-6."""


@dataclass
class Result:
    """What came of one row. Errors are the largest, in metric units; None: not measured."""

    name: str
    architecture: str = ""
    verdict: str = ""
    reason: str = ""
    mlp_verdict: str = ""
    layers: str = ""
    size: float = 0.0
    """The largest logit difference or effect, which errors are to be seen against."""
    errors: dict[str, float] = field(default_factory=dict)
    adapter: str = ""
    """Whether TransformerLens' adapter names the same modules, where it was asked."""
    seconds: float = 0.0


def measure(
    name: str, row: Row, folder: Path, *, thorough: bool = True, adapter: bool = False
) -> dict[str, Any]:
    """Build, save, load and measure one configuration; whatever happens is the result.

    What is not ``thorough`` leaves out float64 and all first differences but one. With ``adapter``
    TransformerLens' names are compared with ours.
    """
    started = time.perf_counter()
    result = Result(name)
    try:
        model = _measure(row, folder, result, thorough)
        if adapter and model is not None and result.errors:
            result.adapter = _adapter(model)
    except UserError as refusal:
        result.verdict, result.reason = "refused", _reason(refusal, folder)
    except Exception as error:  # noqa: BLE001  (a traceback is a result here)
        result.verdict, result.reason = "traceback", _where(error)
    result.seconds = time.perf_counter() - started
    return asdict(result)


def build(row: Row, folder: Path) -> str:
    """Write the model of a row, with weights that leave no head negligible; return its class."""
    from transformers import AutoModelForMultimodalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    made = configuration(row)
    folder.mkdir(parents=True, exist_ok=True)
    make_tiny_tokenizer().save_pretrained(folder)
    if not row.weights:
        made.architectures = [row.architecture]
        made.save_pretrained(folder)
        return str(row.architecture)
    torch.manual_seed(0)
    # As their makers save them: whole, where they read more than text.
    whole = made.model_type in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    kind = AutoModelForMultimodalLM if whole else automatic_class(made.model_type)
    hf = kind.from_config(made, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    hf.save_pretrained(folder)
    return type(hf).__name__


def foreign(architecture: str, model_type: str, folder: Path) -> dict[str, Any]:
    """A folder whose architecture stands in code of its own, which is never run."""
    started = time.perf_counter()
    result = Result(architecture, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    make_tiny_tokenizer().save_pretrained(folder)
    settings = {"model_type": model_type, "architectures": [architecture], "hidden_size": 32}
    settings["auto_map"] = {"AutoConfig": "configuration.Own", "AutoModelForCausalLM": "model.Own"}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    try:
        load_language_model(folder)
        result.verdict = "wrong"
        result.reason = "loaded although there is no code for it"
    except UserError as refusal:
        result.verdict, result.reason = "refused", _reason(refusal, folder)
    except Exception as error:  # noqa: BLE001  (a traceback is a result here)
        result.verdict, result.reason = "traceback", _where(error)
    result.seconds = time.perf_counter() - started
    return asdict(result)


def _measure(row: Row, folder: Path, result: Result, thorough: bool) -> Any:
    try:
        result.architecture = build(row, folder)
    except Exception as error:  # noqa: BLE001  (a traceback is a result here)
        result.verdict, result.reason = "not built", _where(error)
        return None
    try:
        named = keep_names(folder)
    except UserError:
        named = None
    model = load_language_model(folder)
    if named is None or named != model.names:
        raise ValueError("the names found without weights are others than those found with them")
    heads, n_layers = len(model.head_layers), model.n_layers
    result.layers = str(n_layers) if heads == n_layers else f"{heads} of {n_layers}"
    refused: list[str] = []
    places = FIRST_DIFFERENCES if thorough else (MIDDLE,)
    for first in places:
        try:
            _compare(model, first, result)
        except UserError as refusal:
            refused.append(f"refused for some prompts: {_reason(refusal, folder)}")
    if len(refused) == len(places):
        raise UserError(refused[0].partition(": ")[2])
    if thorough:
        _compare_in_float64(folder, result)
    off = _off(result)
    if off - {"mlp"} and _exact_in_float64(folder, result):
        off, remark = set(), "float32 rounds more than elsewhere; exact in float64"
        refused.append(remark)
    result.verdict = "wrong" if off - {"mlp"} else "exact"
    result.reason = "; ".join(dict.fromkeys([*filter(None, [result.reason]), *refused]))
    mlp = "mlp" in off
    if "mlp" in result.errors:
        result.mlp_verdict = "wrong" if mlp else "exact"
    elif not result.mlp_verdict:
        result.mlp_verdict = "none" if not model.mlp_layers else "not measured"
    return model


def _compare(model: Any, first: int, result: Result) -> None:
    pairs = random_pairs(1, n_pairs=2, length=LENGTH, first_difference=first)
    engine = SuffixEngine(model, cache_activations(model, pairs))
    whole = _reference(model, pairs)
    for direction in DIRECTIONS:
        sides = background_prompt(direction), other_prompt(direction)
        start = whole.start[sides[0]].double().numpy()
        units = every_unit(model, 2)
        key = list(
            zip(*(axis.tolist() for axis in (units.pair, units.layer, units.head)), strict=True)
        )
        result.size = max(result.size, float(np.abs(start).max()))
        alphas = np.tile([*ALPHAS, 1.0], (len(units), 1))
        found = values(engine, direction, "head", units, alphas)
        for column, alpha in enumerate(alphas[0]):
            with torch.no_grad():
                true = {
                    layer: whole.f(layer, float(alpha), *sides).double().numpy()
                    for layer in model.head_layers
                }
            expected = np.array([true[layer][head, pair] for pair, layer, head in key])
            name = "ap" if alpha == 1 else "f"
            if alpha == 1:
                result.size = max(result.size, float(np.abs(expected - start[0]).max()))
            _note(result, name, found[:, column], expected)
        _compare_gradients(engine, whole, direction, sides, units, key, result)
        _compare_mlps(engine, whole, direction, sides, result)


def _compare_gradients(
    engine: Any, whole: Whole, direction: Any, sides: Any, units: Any, key: Any, result: Result
) -> None:
    model = engine.model
    at = ALPHAS[-1]
    _, slopes = values_and_slopes(engine, direction, "head", units, np.full((len(units), 1), at))
    true = {layer: whole.g(layer, at, *sides).double().numpy() for layer in model.head_layers}
    expected = np.array([true[layer][head, pair] for pair, layer, head in key])
    scale = max(1.0, float(np.abs(expected).max()) / max(1.0, result.size))
    _note(result, "g", slopes[:, 0] / scale, expected / scale)
    # What is integrated is compared, at the same nodes: where the metric has jumps or kinks, its
    # integral is taken in pieces.
    nodes, weights = quadrature.gauss_legendre(STEPS)
    examples = examples_with_heads(engine)
    scores = joint_slopes(engine, direction, nodes, examples) @ weights
    for example, score in zip(examples.tolist(), scores, strict=True):
        _note(result, "ig_joint", score, whole.ig_joint(example // 2, example % 2, STEPS, *sides))


def _compare_mlps(engine: Any, whole: Whole, direction: Any, sides: Any, result: Result) -> None:
    model = engine.model
    if not model.mlp_layers:
        return
    try:
        units = every_unit(model, 2, "mlp")
        found = values(engine, direction, "mlp", units, np.ones((len(units), 1)))[:, 0]
    except UserError as refusal:
        result.mlp_verdict = f"refused: {refusal}"
        return
    except Exception as error:  # noqa: BLE001  (a traceback is a result here)
        result.mlp_verdict = f"traceback: {_where(error)}"
        return
    true = {layer: whole.mlp_patched(layer, *sides).double().numpy() for layer in model.mlp_layers}
    places = zip(units.pair.tolist(), units.layer.tolist(), strict=True)
    _note(result, "mlp", found, np.array([true[layer][pair] for pair, layer in places]))


def _off(result: Result) -> set[str]:
    """What is further from the reference than is allowed."""
    limit = TOLERANCE * max(1.0, result.size)
    return {name for name, error in result.errors.items() if not error <= limit} - {"float64"}


def _exact_in_float64(folder: Path, result: Result) -> bool:
    """Whether everything agrees a hundred times better where numbers are longer."""
    again = Result(result.name)
    model = load_language_model(folder, dtype="float64")
    for first in FIRST_DIFFERENCES:
        _compare(model, first, again)
    limit = TOLERANCE / 100 * max(1.0, again.size)
    return all(error <= limit for error in again.errors.values())


def _compare_in_float64(folder: Path, result: Result) -> None:
    """AP in float64, at one first difference and in one direction."""
    try:
        model = load_language_model(folder, dtype="float64")
        pairs = random_pairs(1, n_pairs=1, length=LENGTH, first_difference=MIDDLE)
        engine = SuffixEngine(model, cache_activations(model, pairs))
        whole = _reference(model, pairs)
        units = every_unit(model, 1)
        found = values(engine, "noising", "head", units, np.ones((len(units), 1)))[:, 0]
        with torch.no_grad():
            true = {
                layer: whole.f(layer, 1.0, "clean", "corrupted")[:, 0].numpy()
                for layer in model.head_layers
            }
        places = zip(units.layer.tolist(), units.head.tolist(), strict=True)
        expected = np.array([true[layer][head] for layer, head in places])
        result.errors["float64"] = float(np.abs(found - expected).max())
    except UserError as refusal:
        result.reason = f"float64 is refused: {_reason(refusal, folder)}"
    except Exception as error:  # noqa: BLE001  (a traceback is a result here)
        result.errors["float64"] = float("nan")
        result.reason = f"float64: {_where(error)}"


def _adapter(model: Any) -> str:
    """How the names that TransformerLens' adapter gives compare with those that were found."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    if type(model.hf).__name__ not in SUPPORTED_ARCHITECTURES:
        return ""
    try:
        mapping = model.bridge().adapter.component_mapping
        parts = mapping["blocks"].submodules
        theirs = f"{parts['attn'].name}.{parts['attn'].submodules['o'].name}"
        mlp = parts["mlp"].name if "mlp" in parts else None
        blocks = mapping["blocks"].name
    except Exception as error:  # noqa: BLE001  (what an adapter raises is a result here)
        return f"fails: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    layer = model.names.layers[model.head_layers[0]]
    ours = f"{layer.attention}.{layer.output_projection}"
    if (blocks, theirs) != (model.names.blocks, ours):
        return f"differs: {blocks}.*.{theirs}"
    # Where a module adds the residual stream by itself, ours is the linear map within it.
    within = layer.mlp is None or (mlp is not None and f"{layer.mlp}.".startswith(f"{mlp}."))
    return "agrees" if within else f"agrees but for the MLP ({mlp})"


def _reference(model: Any, pairs: Any) -> Whole:
    return Whole(
        model.hf,
        {layer: model.output_projections[layer] for layer in model.head_layers},
        {layer: model.mlps[layer] for layer in model.mlp_layers},
        model.n_heads,
        {"clean": pairs.clean, "corrupted": pairs.corrupted},
        [(c[0], i[0]) for c, i in zip(pairs.correct, pairs.incorrect, strict=True)],
    )


def _note(result: Result, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    error = float(np.abs(found - expected).max())
    # NaN is kept, since it compares as no error below a limit.
    before = result.errors.get(name, 0.0)
    result.errors[name] = error if not error <= before else before


def _reason(refusal: UserError, folder: Path) -> str:
    said = str(refusal)
    for remedy in (REMEDY, CHOOSE, str(folder)):
        said = said.replace(remedy, "the folder" if remedy == str(folder) else "")
    return said.strip()


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "counterpoint" in frame.filename]
    place = f"{Path((own or frames)[-1].filename).name}:{(own or frames)[-1].lineno}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({place})"
