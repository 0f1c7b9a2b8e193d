"""Effects of queries, keys, values and patterns against plain whole passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.errors import UserError
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.roles import ROLES, RoleEffects, role_effects
from counterpoint.models.load import LanguageModel
from tests.engine.test_architecture_kinds import make
from tests.engine.test_suffix import engine_for
from tests.helpers import role_passes
from tests.helpers.default_model import default_model as default_model
from tests.helpers.default_model import first_pair
from tests.helpers.float64_throughout import float64_throughout
from tests.helpers.pair_factory import random_pairs

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "gemma2")


def by_place(effects: RoleEffects) -> dict[role_passes.Place, float]:
    keys = zip(effects.pair, effects.layer, effects.head, effects.role, strict=True)
    places = [(int(pair), int(layer), int(head), ROLES[role]) for pair, layer, head, role in keys]
    assert len(set(places)) == len(places)
    return dict(zip(places, effects.effect.tolist(), strict=True))


@pytest.mark.parametrize("first_difference", [3, 0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_roles_equal_whole_passes(
    architecture: str, first_difference: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = float64_throughout(architecture, monkeypatch)
    pairs = random_pairs(31, n_pairs=2, first_difference=first_difference)
    engine = engine_for(model, pairs)
    for direction in DIRECTIONS:
        found = by_place(role_effects(engine, direction))
        expected = role_passes.role_effects(model, pairs, direction)
        assert set(found) == set(expected)
        assert [found[place] for place in expected] == pytest.approx(
            list(expected.values()), rel=0, abs=1e-9
        )
        assert max(map(abs, expected.values())) > 0.1


def test_roles_of_some_pairs_and_in_float32(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(32, n_pairs=3)
    engine = engine_for(tiny_model, pairs)
    expected = role_passes.role_effects(tiny_model, pairs, "noising")
    found = by_place(role_effects(engine, "noising", pairs=[2, 0]))
    assert set(found) == {place for place in expected if place[0] != 1}
    assert list(found.values()) == pytest.approx([expected[place] for place in found], abs=1e-5)
    assert not len(role_effects(engine, "noising", pairs=[]).effect)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_output_of_a_head_has_its_ap(tiny_model: LanguageModel, direction: Direction) -> None:
    engine = engine_for(tiny_model, random_pairs(33, n_pairs=2))
    effects = role_effects(engine, direction)
    output = effects.effect[effects.role == ROLES.index("output")]
    assert output == pytest.approx(activation_patching(engine, direction), abs=2e-6)


@pytest.mark.parametrize("name", ["gpt_oss", "mixtral", "gemma4", "qwen3_next", "opt"])
def test_roles_of_other_kinds_of_attention(name: str) -> None:
    """Sinks, blocks that are not run one by one, a gate, layers without heads."""
    model = make(name)
    pairs = random_pairs(36)
    found = by_place(role_effects(engine_for(model, pairs), "denoising"))
    expected = role_passes.role_effects(model, pairs, "denoising")
    # Qwen 3 Next makes its gate by the map that gives its queries.
    left_out = {"query"} if name == "qwen3_next" else set()
    assert set(found) == set(expected)
    places = [place for place in expected if place[3] not in left_out]
    assert [found[place] for place in places] == pytest.approx(
        [expected[place] for place in places], rel=0, abs=1e-5
    )


def test_a_model_whose_attention_cannot_be_taken_apart_is_refused() -> None:
    engine = engine_for(make("falcon"), random_pairs(37))
    with pytest.raises(UserError, match=r"layer 0 computes its attention in code of its own.*none"):
        role_effects(engine, "noising")


@pytest.mark.slow
def test_roles_in_the_default_model(default_model: Path) -> None:
    direction: Direction = "denoising"
    engine = first_pair(default_model)
    model, pairs = engine.model, engine.activations.pairs
    heads = [(10, 4), (23, 3)]
    found = by_place(role_effects(engine, direction, layers=[layer for layer, _ in heads]))
    assert {place[1] for place in found} == {layer for layer, _ in heads}
    expected = role_passes.role_effects(model, pairs, direction, heads)
    assert {place[3] for place in expected} == set(ROLES)
    assert [found[place] for place in expected] == pytest.approx(
        list(expected.values()), rel=0, abs=1e-4
    )
