"""Partners: the table of interactions, what it explains, and the identities behind it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import DIRECTIONS, Direction
from counterpoint.measures.integrated_gradients import integrated_gradients
from counterpoint.measures.interaction import partners
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.tables.interaction_table import COLUMNS, score_interactions
from counterpoint.measures.tables.shards import Measurement
from counterpoint.models.load import LanguageModel
from counterpoint.statistics.claims import claims
from counterpoint.statistics.interaction_partners import by_head, numbers_over_pairs
from counterpoint.statistics.meta_analysis import claims_across
from counterpoint.statistics.panel import value
from counterpoint.statistics.resampling import Settings
from tests.engine.test_suffix import engine_for, reference_for
from tests.helpers.pair_factory import random_pairs
from tests.helpers.simulated_heads import table_of_heads
from tests.statistics.test_claims import world

QUICK = Settings(bootstrap_samples=100, permutations=50)


def table(interactions: list[list[float]], remainders: list[float]) -> pd.DataFrame:
    """A head per list, one in each pair, with AP 1 and the given interactions and remainder."""
    rows = [
        {
            "pair": pair,
            "direction": "noising",
            "layer": 2,
            "head": 0,
            "ap": 1.0,
            "ig_own": 1.0 + 1e-6,
            "ig_joint": 1.0 + sum(own) + rest,
            "partner": partner,
            "interaction": value,
            "remainder": rest,
        }
        for pair, (own, rest) in enumerate(zip(interactions, remainders, strict=True))
        for partner, value in enumerate(own, start=1)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_by_head_adds_up() -> None:
    found = by_head(table([[0.3, -0.1], [0.0, 0.0]], [0.05, 0.2]))
    assert found["disagreement"].tolist() == pytest.approx([0.25, 0.2])
    assert found["partners"].tolist() == pytest.approx([0.2, 0.0])
    assert found["accounted"].tolist() == [True, False]
    assert found["strongest"].iloc[0] == pytest.approx(0.75)
    assert np.isnan(found["strongest"].iloc[1])


def test_numbers_are_means_over_pairs_and_reach_the_claims() -> None:
    interaction = table([[0.3, -0.1], [0.4, 0.0], [0.2, 0.2]], [0.0, 0.4, 0.0])
    found = numbers_over_pairs(interaction, "noising", QUICK)
    assert found["partners_account"].estimate == pytest.approx(2 / 3)
    assert found["partners_strongest"].estimate == pytest.approx((0.75 + 1 + 0.5) / 3)
    assert found["partners_own_path_error"].estimate == pytest.approx(1e-6)
    assert found["partners_account"].high <= 1
    heads = world(np.random.default_rng(0))
    with_them = claims(heads, interaction=interaction, settings=QUICK).set_index("quantity")
    assert with_them.loc["partners_own_path_error", "verdict"] == "supported"
    assert with_them.loc["partners_account", "claim"] == 2
    assert not claims(heads, settings=QUICK)["quantity"].str.startswith("partners").any()
    both = {name: with_them.reset_index() for name in ("a", "b")}
    across = claims_across(both).set_index("quantity")
    assert across.loc["partners_account", "estimate"] == pytest.approx(2 / 3)


def test_a_table_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(KeyError, match="remainder"):
        by_head(table([[0.1]], [0.0]).drop(columns="remainder"))
    twice = table([[0.1]], [0.0])
    with pytest.raises(ValueError, match="two rows"):
        by_head(pd.concat([twice, twice]))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_remainders_sum_to_the_effects_of_three_heads_and_more(
    tiny_llama: LanguageModel, direction: Direction
) -> None:
    """Over a layer: the joint effect less all single effects and all effects of two heads."""
    pairs = random_pairs(31)
    engine, reference = engine_for(tiny_llama, pairs), reference_for(tiny_llama, pairs)
    ap = activation_patching(engine, direction).reshape(tiny_llama.n_layers, -1)
    joint = integrated_gradients(engine, direction).score[:, 0]
    n_heads = tiny_llama.n_heads
    every = [(0, layer, head) for layer in range(tiny_llama.n_layers) for head in range(n_heads)]
    found = partners(engine, direction, every).interaction.reshape(-1, n_heads, n_heads)
    start = float(reference.heads(0, [], 1.0, direction))

    def effect(layer: int, heads: list[int]) -> float:
        return float(reference.heads(layer, heads, 1.0, direction)) - start

    for layer in range(tiny_llama.n_layers):
        single = [effect(layer, [head]) for head in range(n_heads)]
        of_two = sum(
            effect(layer, [one, two]) - single[one] - single[two]
            for one, two in itertools.combinations(range(n_heads), 2)
        )
        expected = effect(layer, list(range(n_heads))) - sum(single) - of_two
        remainder = joint[layer].sum() - ap[layer].sum() - found[layer].sum()
        assert remainder == pytest.approx(expected, abs=1e-3)


def test_the_scored_table_is_of_the_largest_disagreements(
    tiny_llama: LanguageModel, tmp_path: Path
) -> None:
    activations = cache_activations(tiny_llama, random_pairs(32, n_pairs=2))
    save_file(
        {f"0/{name}": tensor.contiguous() for name, tensor in activations.tensors().items()},
        tmp_path / "activations.safetensors",
    )
    random = torch.Generator().manual_seed(0)
    shape = (2, tiny_llama.n_layers, tiny_llama.n_heads)
    pair, layer, head = (axis.reshape(-1) for axis in np.indices(shape))
    heads = pd.DataFrame({"pair": pair, "direction": "noising", "layer": layer, "head": head})
    heads["pair"] = np.array(activations.pairs.number)[pair]
    for name in ("ap", "ig_joint"):
        heads[name] = torch.randn(len(heads), generator=random).numpy()
    found = score_interactions(
        tiny_llama,
        tmp_path / "activations.safetensors",
        heads,
        Measurement(directions=("noising",)),
        heads_per_pair=2,
    )
    assert list(found.columns) == list(COLUMNS)
    assert len(found) == 2 * 2 * (tiny_llama.n_heads - 1)
    summed = by_head(found)
    assert np.allclose(summed["partners"] + summed["remainder"], summed["disagreement"])
    size = (heads["ig_joint"] - heads["ap"]).abs()
    for number, own in heads.assign(size=size).groupby("pair"):
        expected = own.nlargest(2, "size")[["layer", "head"]]
        chosen = summed[summed["pair"] == number][["layer", "head"]]
        assert set(map(tuple, chosen.to_numpy())) == set(map(tuple, expected.to_numpy()))


def test_company_is_the_movement_of_the_layers_other_heads() -> None:
    heads = table_of_heads({"output_range_closed": np.array([[1.0, 2.0, 4.0, 8.0]])}, layers=2)
    assert value(heads, "company").tolist() == [2.0, 1.0, 8.0, 4.0]
    heads["gradient_range"] = 3.0
    assert value(heads, "bend_in_company").tolist() == [6.0, 3.0, 24.0, 12.0]


@pytest.mark.parametrize(("interacting", "expected"), [(True, "supported"), (False, "refuted")])
def test_disagreement_that_goes_with_bend_and_company_is_found(
    interacting: bool, expected: str
) -> None:
    random = np.random.default_rng(0)
    movement = np.exp(1.5 * random.standard_normal((6, 120)))
    bend = np.exp(0.7 * random.standard_normal((6, 120)))
    heads = table_of_heads(
        {"output_range_closed": movement, "ap": movement, "gradient_range": bend}, layers=20
    )
    size = value(heads, "bend_in_company") if interacting else heads["output_range_closed"]
    heads["ig_joint"] = heads["ap"] + size * (1 + 0.1 * random.standard_normal(len(heads)))
    found = claims(heads, settings=QUICK).set_index("quantity")
    assert found.loc["auc_gain_of_bend_in_company", "verdict"] == expected
    assert found.loc["auc_gain_of_company", "verdict"] == expected
