"""Pairs of unequal length: every measure equals whole passes with the alignment applied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import counterpoint
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Activations, Direction, TokenPairs
from counterpoint.engine.evaluation_rows import Rows
from counterpoint.engine.head_outputs import every_unit, named_units
from counterpoint.engine.laid_out_runs import laid_out
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.measures.faithfulness import recovered
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.interaction import partners
from counterpoint.measures.patching import activation_patching, effects_on, patched_states
from counterpoint.measures.positions import COMPONENTS, position_patching
from counterpoint.measures.slopes import values_and_slopes
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.alignment import align
from tests.helpers.aligned_passes import AlignedPasses
from tests.helpers.default_model import default_model
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs
from tests.helpers.tiny_models import make_tiny_model

__all__ = ["default_model"]

ANSWERS = (7, 8)
Spans = dict[str, tuple[range, range]]

# Prompts of 9 and 11 tokens: in the middle a span of one token in each, of which the tokens differ,
# before it one token against two and after it two against three.
LATE = ([1, 11, 12, 13, 14, 15, 16, 17, 18], [1, 11, 12, 23, 24, 25, 14, 26, 16, 17, 18])
LATE_SPANS: Spans = {"S": (range(4, 5), range(5, 6))}
# Nothing in common at first, and prompts of 6 and 4 tokens that end differently.
AT_ONCE = ([11, 12, 13, 14, 15, 16], [31, 13, 14, 36])
AT_ONCE_SPANS: Spans = {"S": (range(2, 4), range(1, 3))}
CASES = {"late": (*LATE, LATE_SPANS), "at once": (*AT_ONCE, AT_ONCE_SPANS)}


def token_pairs(clean: list[int], corrupted: list[int], spans: Spans | None = None) -> TokenPairs:
    return TokenPairs(
        torch.tensor([clean]),
        torch.tensor([corrupted]),
        ((ANSWERS[0],),),
        ((ANSWERS[1],),),
        (0,),
        torch.tensor([align(clean, corrupted, spans)]),
    )


def engine_for(
    activations: Activations, model: LanguageModel, direction: Direction
) -> SuffixEngine:
    return SuffixEngine(model, laid_out(activations, direction))


def reference_for(model: LanguageModel, pairs: TokenPairs, direction: Direction) -> AlignedPasses:
    """The alignment is written out anew: from the clean prompt's partners, turned where asked."""
    clean, corrupted = pairs.clean[0].tolist(), pairs.corrupted[0].tolist()
    assert pairs.aligned_with is not None
    both = [(a, b) for a, b in enumerate(pairs.aligned_with[0].tolist()) if b >= 0]
    if direction == "noising":
        return AlignedPasses(model, clean, corrupted, dict(both), ANSWERS)
    return AlignedPasses(model, corrupted, clean, {b: a for a, b in both}, ANSWERS)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_every_measure_equals_whole_passes(
    architecture: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    pairs = token_pairs(*CASES[case])
    activations = cache_activations(model, pairs)
    assert activations.start == pairs.first_difference == (3 if case == "late" else 0)
    for direction in DIRECTIONS:
        engine = engine_for(activations, model, direction)
        plain = reference_for(model, pairs, direction)
        close = {"rel": 0, "abs": 1e-9}
        start = float(plain.metric().detach())
        background, other = ("clean", "corrupted")[:: 1 if direction == "noising" else -1]
        assert float(engine.unpatched(background)) == pytest.approx(start, **close)
        of_other = reference_for(model, pairs, *(set(DIRECTIONS) - {direction})).metric()
        assert float(engine.unpatched(other)) == pytest.approx(float(of_other), **close)
        units = every_unit(model, 1)
        assert units.head is not None
        places = list(zip(units.layer.tolist(), units.head.tolist(), strict=True))
        alphas = np.array([0.4, 1.0])
        output, slope = values_and_slopes(
            engine, direction, "head", units, np.tile(alphas, (len(units), 1))
        )
        expected = np.array([[plain.head(*place, alpha) for alpha in alphas] for place in places])
        assert output == pytest.approx(expected[..., 0], **close)
        assert slope == pytest.approx(expected[..., 1], **close)
        ap = activation_patching(engine, direction)
        assert ap == pytest.approx(expected[:, -1, 0] - start, **close)
        assert np.abs(ap).max() > 0.01
        # The same eight steps; Captum's weights are float32.
        found = integrated_gradients(engine, direction, first_steps=8, max_steps=8)
        for layer in range(model.n_layers):
            assert found.score[layer, 0] == pytest.approx(plain.joint(layer, 8), abs=1e-7)
        whole = torch.ones(model.n_heads, dtype=torch.float64)
        for name in ("mlp", "attention"):
            _, _, joint = position_patching(engine, direction, name)
            for layer in range(model.n_layers):
                change = float(plain.moved(name, layer, whole[:1])) - start
                assert joint[layer] == pytest.approx(change, **close)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_every_position_equals_whole_passes(
    architecture: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    pairs = token_pairs(*CASES[case])
    activations = cache_activations(model, pairs)
    for direction in DIRECTIONS:
        engine = engine_for(activations, model, direction)
        plain = reference_for(model, pairs, direction)
        start = float(plain.metric().detach())
        for component in COMPONENTS:
            units, found, _ = position_patching(
                engine, direction, component, heads=[(0, 1), (1, 3), (2, 0)]
            )
            for place, layer in enumerate(units.layer.tolist()):
                parts = torch.ones(1, dtype=torch.float64)
                if units.head is not None:
                    one = torch.nn.functional.one_hot(units.head[place], model.n_heads)
                    parts = one.double()
                kept = range(pairs.first_difference, engine.activations.length)
                for column, position in enumerate(kept):
                    end = float(plain.moved(component, layer, parts, [position]))
                    assert found[place, column] == pytest.approx(end - start, rel=0, abs=1e-9)
                    if position not in plain.partner:
                        assert found[place, column] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_interactions_faithfulness_and_other_answers_equal_whole_passes(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout("llama", monkeypatch)
    pairs = token_pairs(*CASES["late"])
    engine = engine_for(cache_activations(model, pairs), model, direction)
    plain = reference_for(model, pairs, direction)
    start = float(plain.metric().detach())
    # Of a head on its path with one partner: its own IG there less its AP.
    layer, head, partner = 1, 2, 3
    found = partners(engine, direction, [(0, layer, head)], tolerance=1e-11, max_nodes=33)
    nodes, weights = np.polynomial.legendre.leggauss(32)
    own = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        alphas = torch.zeros(model.n_heads, dtype=torch.float64)
        alphas[[head, partner]] = node
        (slopes,) = torch.autograd.grad(plain.moved("head", layer, alphas.requires_grad_()), alphas)
        own += weight * float(slopes[head])
    ap = plain.head(layer, head, 1.0)[0] - start
    assert found.own[0] == pytest.approx(ap, abs=1e-9)
    assert found.interaction[0, partner] == pytest.approx(own - ap, abs=1e-9)
    # Two heads of different layers together.
    scores = np.zeros((model.n_layers, 1, model.n_heads))
    scores[0, 0, 1], scores[2, 0, 3] = 2.0, 1.0

    def head_of(layer: int, head: int) -> Any:
        width = plain.targets["head", layer].shape[-1] // model.n_heads
        part = slice(head * width, (head + 1) * width)

        def change(value: torch.Tensor) -> torch.Tensor:
            value = value.clone()
            for place in plain.partner:
                value[0, place, part] = plain.targets["head", layer][0, place, part]
            return value

        return "head", layer, change

    end = float(plain.metric(head_of(0, 1), head_of(2, 3)))
    other = reference_for(model, pairs, *(set(DIRECTIONS) - {direction})).metric()
    share = recovered(engine, direction, {"score": scores}, [2])
    assert share[0, 0, 0] == pytest.approx((end - start) / (float(other) - start), abs=1e-9)
    # Answers that the pair does not name.
    units = every_unit(model, 1)
    asked = torch.tensor([[[20, 21]]])
    effects = effects_on(engine, patched_states(engine, direction, units), direction, units, asked)
    plain.answers = (20, 21)
    expected = [
        plain.head(int(units.layer[k]), int(units.head[k]), 1.0)[0] - float(plain.metric().detach())
        for k in range(len(units))
    ]
    assert effects[0] == pytest.approx(np.array(expected), abs=1e-9)


tokens = st.lists(st.integers(5, 9), min_size=1, max_size=8)


@given(clean=tokens, corrupted=tokens, direction=st.sampled_from(DIRECTIONS))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_two_prompts_equal_whole_passes(
    clean: list[int], corrupted: list[int], direction: Direction
) -> None:
    """Few different tokens, so that beginnings and ends often agree; one token alone too."""
    if len(clean) == len(corrupted):
        corrupted = [*corrupted, 10]
    model = make_tiny_model("gpt_neox", "float64")
    pairs = token_pairs(clean, corrupted)
    engine = engine_for(cache_activations(model, pairs), model, direction)
    plain = reference_for(model, pairs, direction)
    found = activation_patching(engine, direction)
    expected = [
        plain.head(layer, head, 1.0)[0] - float(plain.metric().detach())
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]
    assert found == pytest.approx(np.array(expected), abs=1e-9)


def test_pairs_of_one_bucket_have_alignments_of_their_own() -> None:
    model = make_tiny_model("gpt2", "float64")
    clean, corrupted, _ = CASES["late"]
    one = token_pairs(clean, corrupted)
    other = token_pairs(clean, corrupted, LATE_SPANS)
    assert one.aligned_with is not None and other.aligned_with is not None
    assert not torch.equal(one.aligned_with, other.aligned_with)
    both = TokenPairs(
        one.clean.expand(2, -1),
        one.corrupted.expand(2, -1),
        one.correct * 2,
        one.incorrect * 2,
        (0, 1),
        torch.cat([one.aligned_with, other.aligned_with]),
    )
    for direction in DIRECTIONS:
        activations = cache_activations(model, both)
        found = activation_patching(engine_for(activations, model, direction), direction)
        places = every_unit(model, 2).pair.numpy()
        for pair, alone in enumerate((one, other)):
            engine = engine_for(cache_activations(model, alone), model, direction)
            expected = activation_patching(engine, direction)
            assert found[places == pair] == pytest.approx(expected, abs=1e-9)
            few = engine_for(activations.of_pairs([pair]), model, direction)
            assert activation_patching(few, direction) == pytest.approx(expected, abs=1e-9)


def test_a_divergence_is_from_the_whole_clean_run() -> None:
    model = make_tiny_model("llama", "float64")
    pairs = token_pairs(*CASES["late"])
    activations = cache_activations(model, pairs)
    with torch.no_grad():
        clean, corrupted = (
            model.hf(input_ids=tokens, use_cache=False).logits[0, -1].log_softmax(-1)
            for tokens in (pairs.clean, pairs.corrupted)
        )
    expected = float((clean.exp() * (clean - corrupted)).sum())
    for direction in DIRECTIONS:
        own = laid_out(activations, direction)
        engine = SuffixEngine(model, own, metric="kl_divergence")
        assert float(engine.unpatched("clean")) == pytest.approx(0, abs=1e-9)
        assert float(engine.unpatched("corrupted")) == pytest.approx(expected, abs=1e-6)


def test_what_is_stored_is_what_was_run() -> None:
    model = make_tiny_model("llama", "float64")
    activations = cache_activations(model, token_pairs(*CASES["late"]))
    again = Activations.from_tensors(activations.tensors())
    for direction in DIRECTIONS:
        one, other = (
            activation_patching(engine_for(each, model, direction), direction)
            for each in (activations, again)
        )
        assert np.array_equal(one, other)


def test_prompts_of_equal_length_are_handed_back_as_they_are() -> None:
    model = make_tiny_model("llama")
    activations = cache_activations(model, random_pairs(1))
    for direction in DIRECTIONS:
        assert laid_out(activations, direction) is activations


def test_what_is_not_laid_out_is_refused() -> None:
    model = make_tiny_model("llama")
    pairs = token_pairs(*CASES["late"])
    activations = cache_activations(model, pairs)
    with pytest.raises(ValueError, match="activations of one direction"):
        SuffixEngine(model, activations)
    with pytest.raises(ValueError, match="no length in common"):
        _ = activations.length
    engine = engine_for(activations, model, "noising")
    rows = Rows(torch.tensor([0]), (0,), torch.zeros(1, engine.suffix_length, model.d_model))
    with pytest.raises(ValueError, match="laid out for noising alone"):
        engine.evaluate(rows, "denoising")
    with pytest.raises(ValueError, match="only the background's tokens"):
        engine.activations.tokens("corrupted")
    with pytest.raises(ValueError, match="are laid out for noising"):
        laid_out(engine.activations, "denoising")
    with pytest.raises(ValueError, match="stored in their own positions"):
        engine.activations.tensors()


@pytest.mark.parametrize(
    ("partners_of_clean", "said"),
    [
        (None, "the same number of tokens"),
        ([0, 1, 2, -1, -1, -1, 8, 9, -1], "an alignment"),
        ([0, 1, 2, -1, -1, 9, 8, -1, 10], "an alignment"),
        ([0, 1, 2, -1, -1, 9, 9, -1, 10], "an alignment"),
        ([0, 2, 3, -1, -1, -1, 8, 9, 10], "an alignment"),
        ([0, 1, 2, 2, -1, -1, 8, 9, 10], "an alignment"),
        ([0, 1, 10], "an alignment"),
    ],
)
def test_what_is_no_alignment_is_refused(partners_of_clean: list[int] | None, said: str) -> None:
    clean, corrupted = (torch.tensor([one]) for one in LATE)
    with pytest.raises(ValueError, match=said):
        TokenPairs(
            clean,
            corrupted,
            ((7,),),
            ((8,),),
            (0,),
            None if partners_of_clean is None else torch.tensor([partners_of_clean]),
        )


# Three and four words after a common first one; the span has one token in each.
PAIR = (" w5 w6 w7 w8", " w5 w16 w17 w7 w9", " w11", " w12")


def table_of(*pairs: tuple[str, ...], spans: str = "S=w7") -> pd.DataFrame:
    names = ["clean", "corrupted", "correct", "incorrect"]
    return pd.DataFrame(pairs, columns=names).assign(spans=spans)


def test_the_public_functions_align_where_asked() -> None:
    model = make_tiny_model("llama", "float64")
    equal = (" w5 w6 w7 w8", " w5 w16 w7 w8", " w11", " w12")
    both = table_of(equal, PAIR)
    quiet = {"progress": False}
    with pytest.raises(UserError, match='with unequal_lengths="align" such a pair is aligned'):
        counterpoint.measure(model, both, **quiet)
    heads = counterpoint.measure(model, both, unequal_lengths="align", **quiet)
    alone = counterpoint.measure(model, both.head(1), **quiet)
    pd.testing.assert_frame_equal(heads[heads["pair"] == 0].reset_index(drop=True), alone)
    clean, corrupted = (model.encode(text) for text in PAIR[:2])
    answers = model.encode(PAIR[2])[-1], model.encode(PAIR[3])[-1]
    # <bos>, w5, w7 and the last one; what stands between has another number of tokens.
    plain = {
        "noising": AlignedPasses(model, clean, corrupted, {0: 0, 1: 1, 3: 4, 4: 5}, answers),
        "denoising": AlignedPasses(model, corrupted, clean, {0: 0, 1: 1, 4: 3, 5: 4}, answers),
    }
    for row in heads[heads["pair"] == 1].to_dict("records"):
        passes = plain[row["direction"]]
        end, _ = passes.head(row["layer"], row["head"], 1.0)
        assert row["ap"] == pytest.approx(end - float(passes.metric().detach()), abs=1e-6)
    ap = heads.set_index(["pair", "direction", "layer", "head"])["ap"]
    keys = list(ap.index.names)
    effects = counterpoint.answer_effects(model, both, [(1, 2)], unequal_lengths="align", **quiet)
    changes = effects.pivot_table(index=keys, columns="role", values="logit_change")
    expected = ap[changes.index].to_numpy()
    assert (changes["correct"] - changes["incorrect"]).to_numpy() == pytest.approx(expected)
    found = counterpoint.interaction_partners(
        model, both, [(1, 2)], unequal_lengths="align", **quiet
    ).drop_duplicates(["pair", "direction"])
    assert found["ig_own"].to_numpy() == pytest.approx(found["ap"].to_numpy(), abs=1e-4)
    assert found["ap"].to_numpy() == pytest.approx(ap.loc[pd.MultiIndex.from_frame(found[keys])])
    curves = counterpoint.curves(model, both, [(1, 2)], unequal_lengths="align", **quiet)
    assert np.isfinite(curves.output[:, :, 1, 2]).all()
    places = counterpoint.positions(
        model, both, unequal_lengths="align", components=["mlp"], **quiet
    )
    of_pair = places[places["pair"] == 1]
    for direction, expected in (("noising", [3, 4]), ("denoising", [4, 5])):
        own = of_pair[of_pair["direction"] == direction]
        assert sorted(own["position"].unique()) == expected
        assert own.drop_duplicates("position")["span"].tolist() == ["S", "end"]
    on_the_way = counterpoint.position_curves(
        model, both, unequal_lengths="align", components=["mlp"], **quiet
    )
    same = ["pair", "direction", "layer", "position"]
    assert on_the_way[same].equals(places[same])
    assert on_the_way["ap"].to_numpy() == pytest.approx(places["ap"].to_numpy(), abs=1e-6)
    with pytest.raises(UserError, match="are defined, in their papers, on prompts of equal length"):
        counterpoint.measure(model, both, unequal_lengths="align", baselines=["relp"], **quiet)
    with pytest.raises(UserError, match="unequal_lengths='x' is unknown"):
        counterpoint.curves(model, both, unequal_lengths="x", **quiet)
    # Where it cannot be asked for it is not offered.
    with pytest.raises(UserError, match="clean has 4 tokens, corrupted has 5") as error:
        counterpoint.roles(model, both, **quiet)
    assert "unequal_lengths" not in str(error.value)


@pytest.mark.slow
def test_the_default_model_equals_whole_passes(default_model: Path) -> None:
    model = load_language_model(default_model)
    texts = (
        "After John and Mary went to the store, Mary gave a bottle of milk to",
        "After John and Mary went to the little old store, John gave a bottle of milk to",
    )
    clean, corrupted = (model.encode(text) for text in texts)
    pairs = token_pairs(clean, corrupted)
    activations = cache_activations(model, pairs)
    heads = [(0, 3), (20, 0), (23, 3)]
    direction: Direction = "denoising"
    units = named_units(every_unit(model, 1), heads)
    engine = engine_for(activations, model, direction)
    found = activation_patching(engine, direction, units=units)
    plain = reference_for(model, pairs, direction)
    with torch.no_grad():
        start = float(plain.metric())
        for place, (layer, head) in enumerate(heads):
            alphas = torch.nn.functional.one_hot(torch.tensor(head), model.n_heads).float()
            expected = float(plain.moved("head", layer, alphas)) - start
            assert found[place] == pytest.approx(expected, abs=1e-4)
