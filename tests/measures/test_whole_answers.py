"""Whole answers of several tokens: everything that is measured equals plain whole passes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.engine.activations import (
    DIRECTIONS,
    PROMPTS,
    Direction,
    TokenPairs,
    background_prompt,
    other_prompt,
)
from counterpoint.engine.attention_parts import AttentionParts
from counterpoint.engine.head_outputs import every_unit, named_units
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.engine.whole_answers import WholeAnswerEngine
from counterpoint.errors import UserError
from counterpoint.files.artifacts import write_tensors
from counterpoint.measures.curves import output_curves
from counterpoint.measures.faithfulness import patch_heads_together
from counterpoint.measures.gradient_dropout import gradient_dropout_scores
from counterpoint.measures.input_path_gradients import input_path_scores
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.joint_slopes import joint_slopes
from counterpoint.measures.patching import activation_patching, layer_patching, patched_states
from counterpoint.measures.positions import position_patching
from counterpoint.measures.quadrature import gauss_legendre
from counterpoint.measures.relevance import relevance_scores
from counterpoint.measures.roles import role_effects
from counterpoint.measures.slopes import attribution_patching, values, values_and_slopes
from counterpoint.measures.suffix_gradients import suffix_run
from counterpoint.measures.tables.baseline_score_table import score_baselines
from counterpoint.measures.tables.edge_table import score_edges
from counterpoint.measures.tables.role_table import score_roles
from counterpoint.measures.tables.shards import (
    Measurement,
    cache_shard,
    engine_for,
    pair_numbers,
    read_buckets,
    read_shard,
)
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.pair_checks import validate_pairs
from tests.helpers import answer_passes, role_passes, whole_passes
from tests.helpers.answer_passes import Answered, added_up, random_answers
from tests.helpers.default_model import default_model as default_model
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.plain_paths import PlainPaths
from tests.helpers.tiny_models import make_tiny_model

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "gemma2")
METRICS = ("logit_difference", "log_probability")


def whole_engine(
    model: LanguageModel, answered: Answered, beginning: int, metric: str = "logit_difference"
) -> SuffixEngine:
    named, _ = cache_shard(model, answered.table(beginning), metric)
    (bucket,) = read_buckets(named)
    return engine_for(model, bucket, metric)


def by_place(engine: SuffixEngine, found: np.ndarray, component: Any = "head") -> dict[Any, float]:
    units = every_unit(engine.model, len(engine.activations.pairs), component)
    head = torch.zeros_like(units.layer) if units.head is None else units.head
    places = zip(units.pair.tolist(), units.layer.tolist(), head.tolist(), strict=True)
    return dict(zip(places, found.tolist(), strict=True))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_patches_equal_whole_passes(
    architecture: str, first_difference: int, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    answered = random_answers(41, n_pairs=2, first_difference=first_difference)
    engine = whole_engine(model, answered, 1, metric)
    assert isinstance(engine, WholeAnswerEngine)
    for prompt in PROMPTS:
        expected = answer_passes.unpatched(model, answered, prompt, metric)
        assert engine.unpatched(prompt).tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    for direction in DIRECTIONS:
        for component in ("head", "mlp"):
            found = by_place(
                engine, activation_patching(engine, direction, component=component), component
            )
            expected = added_up(
                answered,
                metric,
                lambda pairs, c=component, d=direction: whole_passes.effects(model, pairs, d, c),
            )
            assert set(found) == set(expected)
            assert found == pytest.approx(
                {place: float(effect) for place, effect in expected.items()}, rel=0, abs=1e-9
            )
            assert max(map(abs, found.values())) > 0.1


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    beginning=st.integers(0, 2),
    rests=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    length=st.integers(2, 7),
    data=st.data(),
)
def test_any_shape_equals_whole_passes(
    seed: int, beginning: int, rests: tuple[int, int], length: int, data: Any
) -> None:
    """Answers of any numbers of tokens, those of one token behind what they begin with included."""
    model = make_tiny_model("gpt2", "float64")
    correct, incorrect = (beginning + rest for rest in rests)
    answered = random_answers(
        seed,
        beginning=beginning,
        correct=correct,
        incorrect=incorrect,
        length=length,
        first_difference=data.draw(st.integers(0, length - 1)),
    )
    engine = whole_engine(model, answered, beginning)
    found = by_place(engine, activation_patching(engine, "noising"))
    expected = added_up(
        answered,
        "logit_difference",
        lambda pairs: whole_passes.effects(model, pairs, "noising", "head"),
    )
    assert found == pytest.approx(
        {place: float(effect) for place, effect in expected.items()}, rel=0, abs=1e-9
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_points_slopes_and_paths_equal_whole_passes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """f and g along a head's path, and the joint path of a layer, at some α."""
    model = float64_throughout(architecture, monkeypatch)
    answered = random_answers(42, correct=2, incorrect=3)
    engine = whole_engine(model, answered, 1)
    units = every_unit(model, 1)
    for direction in DIRECTIONS:
        alphas = torch.zeros((), dtype=torch.float64, requires_grad=True)
        start = added_up(
            answered,
            "logit_difference",
            lambda pairs, a=alphas, d=direction: whole_passes.effects(model, pairs, d, "head", a),
        )
        slope = {
            place: float(torch.autograd.grad(effect, alphas, retain_graph=True)[0])
            for place, effect in start.items()
        }
        found = by_place(engine, attribution_patching(engine, direction, "head", units))
        assert found == pytest.approx(slope, rel=0, abs=1e-9)
        half = added_up(
            answered,
            "logit_difference",
            lambda pairs, d=direction: whole_passes.effects(model, pairs, d, "head", 0.3),
        )
        f = values(engine, direction, "head", units, np.full((len(units), 1), 0.3))[:, 0]
        f = f - float(engine.unpatched(background_prompt(direction))[0])
        assert by_place(engine, f) == pytest.approx(
            {place: float(effect) for place, effect in half.items()}, rel=0, abs=1e-9
        )
        slopes = joint_slopes(engine, direction, np.array([0.3]))
        expected = plain_joint_slopes(model, answered, direction, 0.3)
        assert slopes[:, :, 0] == pytest.approx(expected, rel=0, abs=1e-9)


def plain_joint_slopes(
    model: LanguageModel, answered: Answered, direction: Direction, alpha: float
) -> np.ndarray:
    """⟨∂m/∂z, Δz⟩ of each head [layer, head], with all heads of the layer at α, by whole passes."""
    total = np.zeros((model.n_layers, model.n_heads))
    for sign, answer in answered.answers("logit_difference"):
        pairs = answered.behind(answer)
        sides = [getattr(pairs, side(direction)) for side in (background_prompt, other_prompt)]
        for layer in range(model.n_layers):
            module = model.output_projection(layer)
            start, end = (whole_passes.value_of(model, module, tokens, "head") for tokens in sides)
            moved = (start + alpha * (end - start)).requires_grad_()
            with whole_passes.changed(module, "head", lambda value, put=moved: put):
                output = model.hf(input_ids=sides[0], use_cache=False).logits
            metric = answer_passes.read(output, answer)[0, 0]
            (gradient,) = torch.autograd.grad(metric, moved)
            by_head = (gradient * (end - start)).unflatten(-1, (model.n_heads, -1))
            total[layer] += sign * by_head.sum((0, 1, 3)).detach().numpy()
    return total


def test_integrals_are_complete_and_curves_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """IG joint sums to the effect of patching the layer, IG on the own path to AP."""
    model = float64_throughout("gpt2", monkeypatch)
    answered = random_answers(43, n_pairs=2)
    engine = whole_engine(model, answered, 1)
    units = every_unit(model, 2)
    for direction in DIRECTIONS:
        joint = integrated_gradients(engine, direction, tolerance=1e-6)
        effect = layer_patching(engine, direction)
        # Captum's weights are float32.
        assert joint.score.sum(2) == pytest.approx(effect, rel=0, abs=1e-5)
        curves = output_curves(engine, direction, units, tolerance=1e-6)
        ap = activation_patching(engine, direction, units=units)
        assert curves.ap == pytest.approx(ap, rel=0, abs=1e-9)
        assert curves.ig_own == pytest.approx(ap, rel=0, abs=1e-5)
        assert curves.resolved.all()
        grid, _ = gauss_legendre(50)
        plain = values(engine, direction, "head", units, np.tile(grid, (len(units), 1)))
        assert np.abs(curves.output - plain).max() <= 1e-5


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_heads_patched_together_equal_whole_passes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    answered = random_answers(44)
    engine = whole_engine(model, answered, 1)
    chosen = torch.zeros(1, model.n_layers, model.n_heads, dtype=torch.bool)
    chosen[0, 0, 1] = chosen[0, 1, 2] = chosen[0, 2, 0] = True
    for direction in DIRECTIONS:
        found = patch_heads_together(engine, direction, torch.zeros(1, dtype=torch.long), chosen)
        expected = 0.0
        for sign, answer in answered.answers("logit_difference"):
            pairs = answered.behind(answer)
            sides = [getattr(pairs, side(direction)) for side in (background_prompt, other_prompt)]
            with ExitStack() as stack:
                for layer in range(model.n_layers):
                    module = model.output_projection(layer)
                    other = whole_passes.value_of(model, module, sides[1], "head")
                    heads = chosen[0, layer].repeat_interleave(other.shape[-1] // model.n_heads)
                    stack.enter_context(
                        whole_passes.changed(
                            module,
                            "head",
                            lambda value, h=heads, o=other: torch.where(h, o, value),
                        )
                    )
                output = model.hf(input_ids=sides[0], use_cache=False).logits
            expected += sign * float(answer_passes.read(output, answer)[0, 0])
        assert found.tolist() == pytest.approx([expected], rel=0, abs=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_roles_equal_whole_passes(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = float64_throughout(architecture, monkeypatch)
    answered = random_answers(45, correct=2, incorrect=3)
    named, _ = cache_shard(model, answered.table(1), "logit_difference")
    table = score_roles(model, named, Measurement(directions=("denoising",)))
    keys = zip(table["pair"], table["layer"], table["head"], table["role"], strict=True)
    found = dict(zip(keys, table["ap"], strict=True))
    expected = added_up(
        answered,
        "logit_difference",
        lambda pairs: role_passes.role_effects(model, pairs, "denoising"),
    )
    assert set(found) == set(expected)
    assert found == pytest.approx(expected, rel=0, abs=1e-9)


class _WholePaths(PlainPaths):
    """Edges by whole passes, of the log-probability of an answer behind the prompts."""

    def __init__(self, model: LanguageModel, answered: Answered, answer: Tensor) -> None:
        self.answer = answer
        super().__init__(model, answered.behind(answer), "noising")

    def metric(self, logits: Tensor) -> Tensor:
        return answer_passes.read(logits, self.answer)[:, 0]

    def seen(self, logits: Tensor) -> Tensor:
        return logits


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_edges_equal_whole_passes(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = float64_throughout(architecture, monkeypatch)
    answered = random_answers(46, correct=2, incorrect=3)
    named, _ = cache_shard(model, answered.table(1), "logit_difference")
    table = score_edges(model, named, Measurement(directions=("noising",)), [(2, 1)])
    paths = [
        (sign, _WholePaths(model, answered, answer))
        for sign, answer in answered.answers("logit_difference")
    ]
    assert len(table) > 40
    for row in table.itertuples():
        sender = int(row.sender_layer), int(row.sender_head)
        receiver = int(row.receiver_layer), int(row.receiver_head)
        expected = sum(
            sign * float(plain.edge(sender, receiver, row.role)[0]) for sign, plain in paths
        )
        assert row.effect == pytest.approx(expected, rel=0, abs=1e-9)
    share = torch.zeros((), dtype=torch.float64, requires_grad=True)
    row = table[table["role"] == "query"].iloc[0]
    sender = int(row["sender_layer"]), int(row["sender_head"])
    slope = sum(
        sign * torch.autograd.grad(plain.edge(sender, (2, 1), "query", share)[0], share)[0]
        for sign, plain in paths
    )
    assert row["eap"] == pytest.approx(float(slope), rel=0, abs=1e-6)


def test_scores_of_other_papers_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are linear in the metric, and the second-order term; AtP* is not and refuses."""
    model = float64_throughout("llama", monkeypatch)
    named, _ = cache_shard(model, random_answers(47).table(1), "logit_difference")
    noising = Measurement(directions=("noising",))
    table = score_baselines(model, named, noising, ["atp_hvp", "eap_ig", "relp"])
    (bucket,) = read_buckets(named)
    engine = engine_for(model, bucket, "logit_difference")
    units = every_unit(model, 1)
    places = units.layer.numpy(), units.pair.numpy(), units.head.numpy()
    for name, score in (("eap_ig", input_path_scores), ("relp", relevance_scores)):
        parts = [sign * score(part, "noising")[places] for part, sign in engine.parts]
        assert len(parts) == 4
        assert table[name].to_numpy() == pytest.approx(sum(parts), rel=0, abs=1e-12)
    step = 1e-4
    alphas = np.tile([-step, 0.0, step], (len(units), 1))
    _, g = values_and_slopes(engine, "noising", "head", units, alphas)
    bend = (g[:, 2] - g[:, 0]) / (2 * step)
    assert table["atp_hvp"].to_numpy() == pytest.approx(g[:, 1] + bend / 2, rel=0, abs=1e-3)
    with pytest.raises(UserError, match="not measured of whole answers"):
        score_baselines(model, named, noising, ["atp_star"])


def test_curves_of_a_mixture_of_experts_keep_to_their_errors() -> None:
    """Jumps are found in every reading: the curve is off from plain points by what is stated."""
    model = make_tiny_model("mixtral")
    engine = whole_engine(model, random_answers(48, correct=2, incorrect=3), 1)
    units = every_unit(model, 1)[slice(0, 3)]
    curves = output_curves(engine, "noising", units)
    grid, _ = gauss_legendre(50)
    plain = values(engine, "noising", "head", units, np.tile(grid, (len(units), 1)))
    missed = np.abs(curves.output - plain).max(1)
    assert (missed <= curves.quadrature_error + 1e-5).all()
    assert curves.jumps.sum() > 0
    ap = activation_patching(engine, "noising", units=units)
    assert curves.ig_own + curves.jump_total == pytest.approx(ap, abs=1e-3)


def test_of_what_reads_one_position_nothing_runs() -> None:
    """What is not defined for whole answers refuses, whichever way it is reached."""
    model = make_tiny_model("gpt2")
    answered = random_answers(49)
    named, _ = cache_shard(model, answered.table(1), "logit_difference")
    engine = whole_engine(model, answered, 1)
    units = every_unit(model, 1)
    tries: list[Any] = [
        lambda: list(read_shard(named)),
        lambda: whole_engine(model, answered, 1, "kl_divergence"),
        lambda: position_patching(engine, "noising", "head"),
        lambda: patched_states(engine, "noising", units),
        lambda: engine.metric,
        lambda: engine.logits(engine.activations.clean.final),
        lambda: AttentionParts(engine).of_prompt("clean", 0, torch.zeros(1, dtype=torch.long)),
        lambda: role_effects(engine, "noising"),
        lambda: gradient_dropout_scores(engine, "noising"),
        lambda: suffix_run(engine, "noising", torch.zeros(1, dtype=torch.long)),
    ]
    for tried in tries:
        with pytest.raises(UserError, match="whole answers"):
            tried()


@pytest.mark.slow
def test_heads_of_the_default_model_equal_whole_passes(default_model: Path) -> None:
    model = load_language_model(default_model)
    texts = pd.DataFrame(
        [
            {
                "row": 1,
                "clean": "The capital of California is the city of",
                "corrupted": "The capital of Massachusetts is the city of",
                "correct": " San Diego",
                "incorrect": " New York",
            }
        ]
    )
    pairs, _ = validate_pairs(texts, model.tokenizer, answer_tokens="whole")
    (row,) = pairs.to_dict("records")
    assert len(row["correct_rest"]) == len(row["incorrect_rest"]) == 1
    named, _ = cache_shard(model, pairs, "logit_difference")
    (bucket,) = read_buckets(named)
    engine = engine_for(model, bucket, "logit_difference")
    heads = [(20, 0), (29, 1)]
    units = named_units(every_unit(model, 1), heads)
    found = activation_patching(engine, "denoising", units=units)
    prompts = (torch.tensor([row[f"{prompt}_tokens"].tolist()]) for prompt in PROMPTS)
    answers = (
        torch.tensor([[*row[f"{side}_tokens"].tolist(), *row[f"{side}_rest"].tolist()]])
        for side in ("correct", "incorrect")
    )
    answered = Answered(TokenPairs(*prompts, ((0,),), ((1,),), (0,)), *answers)
    start = answer_passes.unpatched(model, answered, "corrupted", "logit_difference")
    for (layer, head), ap in zip(heads, found, strict=True):
        module = model.output_projection(layer)
        end = 0.0
        for sign, answer in answered.answers("logit_difference"):
            both = answered.behind(answer)
            z = whole_passes.value_of(model, module, both.clean, "head")
            width = z.shape[-1] // model.n_heads
            own = slice(head * width, (head + 1) * width)

            def put(value: Tensor, own: slice = own, z: Tensor = z) -> Tensor:
                value = value.clone()
                value[..., own] = z[..., own]
                return value

            with torch.no_grad(), whole_passes.changed(module, "head", put):
                output = model.hf(input_ids=both.corrupted, use_cache=False).logits
            end += sign * float(answer_passes.read(output, answer)[0, 0])
        assert ap == pytest.approx(end - float(start[0]), rel=0, abs=1e-4)


def test_readings_are_stored_and_read_back(tmp_path: Path) -> None:
    model = make_tiny_model("llama")
    table = pd.concat(
        [
            random_answers(50, n_pairs=2).table(1),
            random_answers(51, correct=1, beginning=0).table(0),
        ]
    ).assign(pair=[0, 1, 2])
    named, baseline = cache_shard(model, table, "log_probability")
    path = tmp_path / "activations.safetensors"
    write_tensors(named, path)
    assert pair_numbers(path) == [0, 1, 2]
    assert baseline["pair"].tolist() == [0, 1, 2]
    for stored, kept in zip(read_buckets(path), read_buckets(named), strict=True):
        kinds = [kind for kind, _ in stored.readings]
        assert kinds == [kind for kind, _ in kept.readings]
        for metric in METRICS:
            one, other = (engine_for(model, each, metric) for each in (stored, kept))
            assert torch.equal(one.unpatched("clean"), other.unpatched("clean"))
    # The logit difference is that of the whole answers, whatever the metric is.
    _, again = cache_shard(model, table, "logit_difference")
    for prompt in PROMPTS:
        assert baseline[f"logit_difference_{prompt}"].equals(again[f"metric_{prompt}"])
