"""Variants, estimates and the atlas against plain brute force on tiny models."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.counterfactuals.atlas import atlas_verification
from counterpoint.counterfactuals.atlas.atlas_search import WAYS, Atlas, search_atlas
from counterpoint.counterfactuals.atlas.atlas_table import COLUMNS, merge
from counterpoint.counterfactuals.atlas.atlas_verification import verify
from counterpoint.counterfactuals.evaluation.all_heads import Pair, exact_effects
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.single_pair import pair_of
from counterpoint.counterfactuals.head_ranks import rank_and_margin
from counterpoint.counterfactuals.language.opening_texts import OTHER, PLAIN, VARIED
from counterpoint.counterfactuals.methods.candidate_niches import Candidate, Niche, for_head
from counterpoint.counterfactuals.methods.first_order_estimates import Estimator
from counterpoint.counterfactuals.methods.method_settings import VariantSettings
from counterpoint.counterfactuals.methods.proposals import Proposals
from counterpoint.counterfactuals.methods.variants import Moves, Parent, Variants
from counterpoint.counterfactuals.pair_quality import (
    FIRST,
    GOOD_CHANGE,
    GOOD_MARGIN,
    LEAST_CHANGE,
    WELL_AHEAD,
    closeness_to_first,
    quality,
    success_level,
)
from counterpoint.counterfactuals.problem import Budget, Ledger, Settings, Target
from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table
from counterpoint.models.load import LanguageModel
from counterpoint.models.model_shape import Shape
from tests.helpers.interrupting import Interrupting
from tests.helpers.reference import PlainReference, plain_changes
from tests.helpers.small_study import (
    configuration,
    planned_jobs,
    planned_rules,
    prepare,
    snakemake,
    write_configuration,
)

Rule = Literal["unwritten", "forbid", "allow"]
STARTS = [" w5 w9 w12 w30 w7 w8", " w6 w11 w3 w21 w7 w19"]
LENIENT = VariantSettings(
    surprise=50, largest=100, variants=6, proposals=20, readings=4, checks=2, rivals=5, samples=6
)


def settings_for(evaluations: int, own: VariantSettings = LENIENT) -> Settings:
    return Settings(Budget(evaluations), answer_in_prompt="allow", method=own)


def make_parts(
    model: LanguageModel, own: VariantSettings = LENIENT, rule: Rule = "allow"
) -> tuple[Evaluator, Moves, Estimator]:
    settings = Settings(Budget(10**6), answer_in_prompt=rule)
    start = model.encode(STARTS[0])
    evaluator = Evaluator(model, Target(1, 2), settings, Ledger(settings.budget), start)
    generator = torch.Generator().manual_seed(0)
    moves = Moves(evaluator, Proposals(evaluator, generator), own)
    return evaluator, moves, Estimator(evaluator, generator, own, cap=50)


# -- quality and niches ----------------------------------------------------------------------------


@given(st.floats(0, 20), st.floats(0, 20), st.floats(0, 5), st.floats(0, 5))
def test_quality_grows_with_change_and_lead(
    change: float, more: float, margin: float, ahead: float
) -> None:
    low = quality(np.array(change), np.array(margin))
    high = quality(np.array(change + more), np.array(margin + ahead))
    assert high >= low >= closeness_to_first(np.array(change), np.array(margin)) >= 0
    assert closeness_to_first(np.array(change), np.array(margin)) < FIRST
    assert (low >= FIRST) == (margin > 1 and change >= LEAST_CHANGE)
    assert (low >= 2 * FIRST) == (margin > 1 and change >= GOOD_CHANGE)
    assert (low >= WELL_AHEAD) == (margin >= GOOD_MARGIN and change >= GOOD_CHANGE)
    assert low // FIRST == success_level(np.array(change), np.array(margin))


def test_quality_of_what_is_missing_is_nothing() -> None:
    assert quality(np.array(math.nan), np.array(2.0)) == 0


def candidate(first: int, change: float, margin: float) -> Candidate:
    return Candidate(
        clean=(0, first, 7, 8),
        corrupted=(0, first, 9, 8),
        origin=((0, first, 7, 8),),
        correct=1,
        incorrect=2,
        ld_change=change,
        margin=margin,
        loss_clean=1.0,
        loss_corrupted=1.0,
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.2, 8), st.floats(0, 3)), max_size=20))
def test_a_niche_keeps_the_best_of_each_beginning(offers: list[tuple[int, float, float]]) -> None:
    niche = Niche(size=3, nest=2)
    for offer in offers:
        niche.take_in(candidate(*offer))
    best: dict[int, float] = {}
    for first, change, margin in offers:
        worth = candidate(first, change, margin).quality
        best[first] = max(best.get(first, 0.0), worth)
    assert [one.quality for one in niche.elites] == sorted(best.values(), reverse=True)[:3]
    assert niche.best == max(best.values(), default=0.0)


def test_an_edit_that_works_elsewhere_is_a_step_for_a_head_well_ahead() -> None:
    ahead, first = candidate(0, 1.2, 1.6), candidate(0, 1.2, 1.4)
    for one, worth in ((ahead, FIRST), (first, 0)):
        assert replace(one, transfer_share=0.5).quality == one.quality + worth
        assert replace(one, transfer_share=0.25).quality == one.quality


def test_standing_by_hand() -> None:
    effects = np.array([0.5, -2.0, 1.0, 0.1])
    assert rank_and_margin(effects, 1) == (1, 2.0, 2)
    assert rank_and_margin(effects, 0) == (3, 0.25, 1)


# -- variants ------------------------------------------------------------------------------------


def test_samples_begin_with_no_more_than_the_shortest_start(tiny_llama: LanguageModel) -> None:
    _, moves, _ = make_parts(tiny_llama)
    starts = [(1, 5, 6), tuple(range(1, 12))]
    for _ in range(8):
        assert {len(one) for one in moves.samples(starts, 3, 10)} == {10}


def test_samples_begin_as_the_starts_or_as_texts_of_many_kinds(tiny_llama: LanguageModel) -> None:
    starts = [(1, 5, 6, 7, 8)]
    for varied, second in ((False, 5), (True, 40)):
        _, moves, _ = make_parts(tiny_llama, replace(LENIENT, varied=varied))
        assert moves.varied == [tuple(tiny_llama.encode(text)) for text in VARIED]
        moves.varied = [(1, 40, 41, 42, 43)]
        for one in moves.samples(starts, 4, 10):
            assert one[:2] == (1, second)
    # Both sorts of text as often.
    assert sum(text in PLAIN for text in VARIED) == sum(text in OTHER for text in VARIED)


def test_edits_differ_at_one_place_and_keep_the_sentence(tiny_model: LanguageModel) -> None:
    _, moves, _ = make_parts(tiny_model)
    sentence = tuple(tiny_model.encode(STARTS[0]))
    variants = moves.edits(sentence, 3, (sentence,), Target(1, 2))
    prompts = variants.prompts
    assert len(prompts) == LENIENT.variants
    assert len({tuple(row) for row in prompts.tolist()}) == len(prompts)
    others = [place for place in range(prompts.shape[1]) if place != 3]
    assert (prompts[:, others] == torch.tensor(sentence)[others]).all()
    assert prompts[0].tolist() == list(sentence)
    assert variants.origin.tolist() == [[list(sentence)] * len(prompts)]


@pytest.mark.parametrize("name", ["other_edits", "other_shared", "other_tail", "moved_edit"])
@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize(("changes", "places"), [(1, [4]), (2, [4]), (2, [2, 4])])
def test_moves_of_a_pair_make_pairs(
    tiny_llama: LanguageModel, name: str, gradient: bool, changes: int, places: list[int]
) -> None:
    own = VariantSettings(variants=8, proposals=20, gradient=gradient, changes=changes, largest=99)
    evaluator, moves, estimator = make_parts(tiny_llama, own)
    x = tuple(tiny_llama.encode(STARTS[0]))
    y = tuple(token + (place in places) for place, token in enumerate(x))
    parent = candidate(0, 1.0, 1.0)
    parent = Candidate(**{**parent.__dict__, "clean": x, "corrupted": y, "origin": (x, y)})
    assert parent.places == places
    spent = evaluator.ledger.evaluations
    variants = getattr(moves, name)(parent, Target(1, 2))
    assert variants is not None
    assert evaluator.ledger.evaluations > spent
    prompts = variants.prompts
    assert len(prompts) <= own.variants
    assert variants.origin.shape == (2, *prompts.shape)
    differ = (prompts[:, None] != prompts[None]).sum(-1)
    assert bool((differ == (len(places) if name == "other_tail" else 1)).any())
    if name in ("other_edits", "other_shared"):
        changed = (prompts != torch.tensor(x)[: prompts.shape[1]]).any(0).nonzero()[:, 0].tolist()
        assert len({*changed, *places}) == len(places) + (name == "other_shared")
    # What is followed differs in as many tokens as it may, and no more.
    found = estimator.estimate(variants)
    rows = range(len(found.rows)) if found else ()
    assert all(len(found.candidate(row).places) <= changes for row in rows)


def test_two_tokens_of_a_pair_may_differ(tiny_llama: LanguageModel) -> None:
    x = tuple(tiny_llama.encode(STARTS[0]))
    y = (*x[:4], x[4] + 1, *x[5:])
    for changes in (1, 2):
        own = VariantSettings(variants=12, proposals=30, changes=changes, largest=99)
        _, moves, estimator = make_parts(tiny_llama, own)
        variants = moves.other_shared(Parent(x, y, (x,)), Target(1, 2))
        assert variants is not None
        found = estimator.estimate(variants)
        assert found is not None
        pairs = [found.candidate(row) for row in range(len(found.rows))]
        assert {len(pair.places) for pair in pairs} == set(range(1, changes + 1))
        # Estimated and checked like all others.
        promise = np.array([float(len(pair.places) == changes) for pair in pairs])
        for pair, effects in estimator.check(found, promise):
            assert len(pair.places) == changes
            exact = plain_changes(tiny_llama, pair.pair)
            for head, effect in effects.items():
                assert effect == pytest.approx(exact[head], abs=1e-4)


# -- estimates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patched", [0, 6])
def test_estimates_are_first_order_and_patched_ones_exact(
    tiny_model: LanguageModel, patched: int
) -> None:
    """Each row against attribution patching of the plain reference; the head aimed at is exact
    where it was patched."""
    own = VariantSettings(**{**LENIENT.__dict__, "patched": patched, "variants": 4})
    _, moves, estimator = make_parts(tiny_model, own)
    sentence = tuple(tiny_model.encode(STARTS[0]))
    head = 1 * tiny_model.n_heads + 2
    found = estimator.estimate(moves.edits(sentence, 3, (sentence,)), head if patched else None)
    assert found is not None
    for row in range(min(3, len(found.rows))):
        pair = found.candidate(row)
        reference = PlainReference(
            tiny_model.bridge(),
            torch.tensor(pair.clean),
            torch.tensor(pair.corrupted),
            lambda logits, pair=pair: logits[pair.correct] - logits[pair.incorrect],
        )
        exact = plain_changes(tiny_model, pair.pair)
        step = 1e-3
        for layer, number in ((0, 1), (1, 0)):
            place = layer * tiny_model.n_heads + number
            with torch.no_grad():
                moved = float(reference.head(layer, number, step))
                start = float(reference.head(layer, number, 0))
            assert found.effects[row, place] == pytest.approx((start - moved) / step, abs=0.05)
        if patched:
            near = abs(found.effects[row, head] - exact[head])
            slope = abs(found.effects[row]).max()
            assert near < max(1e-3, 2 * slope)
    if patched:
        rows = [found.candidate(row) for row in range(len(found.rows))]
        errors = [
            abs(found.effects[row, head] - plain_changes(tiny_model, pair.pair)[head])
            for row, pair in enumerate(rows[:6])
        ]
        assert min(errors) < 1e-4


def test_losses_and_answers_of_estimates_are_the_models(tiny_llama: LanguageModel) -> None:
    _, moves, estimator = make_parts(tiny_llama)
    sentence = tuple(tiny_llama.encode(STARTS[0]))
    found = estimator.estimate(moves.edits(sentence, 3, (sentence,)))
    assert found is not None
    for row in range(len(found.rows)):
        pair = found.candidate(row)
        for tokens, loss, answer in (
            (pair.clean, pair.loss_clean, pair.correct),
            (pair.corrupted, pair.loss_corrupted, pair.incorrect),
        ):
            logits = tiny_llama.hf(torch.tensor([tokens])).logits[0].log_softmax(-1)
            plain = -sum(float(logits[t, tokens[t + 1]]) for t in range(len(tokens) - 1))
            assert loss == pytest.approx(plain / (len(tokens) - 1), abs=1e-4)
            assert answer == int(logits[-1].argmax())
        assert sum(a != b for a, b in zip(pair.clean, pair.corrupted, strict=True)) == 1


def test_a_written_answer_is_refused_and_a_given_one_is_not(tiny_llama: LanguageModel) -> None:
    evaluator, moves, strict = make_parts(tiny_llama, rule="unwritten")
    sentence = tuple(tiny_llama.encode(STARTS[0]))
    prompts = moves.edits(sentence, 3, (sentence,)).prompts
    words = evaluator.vocabulary.word
    given = Variants(prompts, prompts[None])
    written = Variants(prompts, torch.full_like(prompts, -1)[None])
    for variants, may in ((given, True), (written, False)):
        found = strict.estimate(variants)
        pairs = [] if found is None else [found.candidate(row) for row in range(len(found.rows))]
        taken = [
            bool(
                {int(words[one.correct]), int(words[one.incorrect])}
                & {int(words[token]) for token in (*one.clean, *one.corrupted)}
            )
            for one in pairs
        ]
        assert may or not any(taken)


def test_a_check_is_exact(tiny_model: LanguageModel) -> None:
    _, moves, estimator = make_parts(tiny_model)
    sentence = tuple(tiny_model.encode(STARTS[0]))
    found = estimator.estimate(moves.edits(sentence, 3, (sentence,)))
    assert found is not None
    checked = estimator.check(found, np.abs(found.effects).max(1), always=[0])
    assert checked
    for pair, effects in checked:
        plain = plain_changes(tiny_model, pair.pair)
        assert 0 in effects
        for head, effect in effects.items():
            assert effect == pytest.approx(plain[head], abs=1e-4)
        known = for_head(pair, effects, 0)
        rivals = max(abs(effect) for head, effect in effects.items() if head != 0)
        assert known.margin == pytest.approx(abs(known.ld_change) / rivals)
    again = estimator.check(found, np.abs(found.effects).max(1), always=[0])
    before = {(pair.clean, pair.corrupted) for pair, _ in checked}
    assert not before & {(pair.clean, pair.corrupted) for pair, _ in again}


def test_exact_effects_of_several_pairs_and_heads(tiny_model: LanguageModel) -> None:
    x = tiny_model.encode(STARTS[0])
    pairs = [Pair(tuple(x), (*x[:3], other, *x[4:]), 40, 41) for other in (x[3] + 1, x[3] + 2)]
    heads = [np.array([5, 0]), np.array([3])]
    alphas = (0.25, 1.0)
    found = exact_effects(tiny_model, pairs, heads, alphas)
    everything = exact_effects(tiny_model, pairs)
    for pair, wanted, some, all_heads in zip(pairs, heads, found, everything, strict=True):
        plain = plain_changes(tiny_model, pair)
        np.testing.assert_allclose(some[:, 1], plain[wanted], atol=1e-4)
        np.testing.assert_allclose(all_heads[:, 0], plain, atol=1e-4)


# -- the atlas -----------------------------------------------------------------------------------


def as_json(atlas: Atlas) -> str:
    state = atlas.state()
    state.pop("seconds")
    state["trace"] = [[row[0], *row[2:]] for row in state["trace"]]
    return json.dumps(state)


@pytest.mark.parametrize("way", list(WAYS))
def test_an_atlas_depends_on_its_seed_alone(tiny_llama: LanguageModel, way: str) -> None:
    one, same, other = (
        search_atlas(tiny_llama, STARTS, settings_for(600), seed, way=way) for seed in (0, 0, 1)
    )
    assert as_json(one) == as_json(same)
    assert as_json(one) != as_json(other)
    assert any(niche.elites for niche in one.niches)


def test_a_resumed_atlas_ends_as_one_that_was_not_interrupted(
    tiny_llama: LanguageModel, tmp_path: Path
) -> None:
    whole = search_atlas(tiny_llama, STARTS, settings_for(1500), seed=3)
    file, steps = tmp_path / "checkpoint.safetensors", whole.counts["steps"]
    for after in (steps // 3, 2):
        with pytest.raises(KeyboardInterrupt):
            search_atlas(
                tiny_llama,
                STARTS,
                settings_for(1500),
                seed=3,
                checkpoints=Interrupting(file, after),
            )
    last = Interrupting(file)
    resumed = search_atlas(tiny_llama, STARTS, settings_for(1500), seed=3, checkpoints=last)
    assert as_json(resumed) == as_json(whole)
    assert last.kept_states == steps - steps // 3 - 2 > 0


def test_the_atlas_starts_from_the_plain_sentences() -> None:
    # A configuration cannot name a constant; so the sentences stand twice, and must be the same.
    configured = yaml.safe_load(Path("config.atlas.yaml").read_text(encoding="utf-8"))
    atlas = configured["studies"]["atlas"]["counterfactuals"]["atlas"]
    assert tuple(atlas["start"]) == PLAIN


def test_a_start_that_is_too_short_is_refused(tiny_llama: LanguageModel) -> None:
    with pytest.raises(UserError, match="Write a longer start"):
        search_atlas(tiny_llama, [" w5"], settings_for(100))


@pytest.fixture(scope="module")
def searched(tiny_llama: LanguageModel) -> pd.DataFrame:
    return search_atlas(tiny_llama, STARTS, settings_for(2500)).candidates()


def test_verification_patches_every_head(tiny_llama: LanguageModel, searched: pd.DataFrame) -> None:
    verified = verify(tiny_llama, searched)
    assert list(verified.columns) == list(COLUMNS)
    assert len(verified) >= searched[["layer", "head"]].drop_duplicates().shape[0]
    for _, row in verified.head(8).iterrows():
        pair = Pair(
            tuple(row["clean_tokens"]),
            tuple(row["corrupted_tokens"]),
            row["correct_token"],
            row["incorrect_token"],
        )
        plain = plain_changes(tiny_llama, pair)
        place = row["layer"] * tiny_llama.n_heads + row["head"]
        assert row["ld_change"] == pytest.approx(plain[place], abs=1e-4)
        assert row["rank"] == 1 + (np.abs(plain) > abs(plain[place]) + 1e-6).sum()
        others = np.delete(np.abs(plain), place)
        assert row["margin"] == pytest.approx(abs(plain[place]) / others.max(), rel=1e-2)


def test_no_candidate_is_left_out_on_which_its_head_comes_first(
    tiny_llama: LanguageModel, searched: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(table: pd.DataFrame) -> set[tuple[int, int]]:
        good = table[(table["rank"] == 1) & (table["ld_change"] >= LEAST_CHANGE) & table["fluent"]]
        return set(zip(good["layer"], good["head"], strict=True))

    # Every head with every pair, and what it truly does there.
    pairs = searched.drop_duplicates("clean_tokens").head(6)
    rows = []
    for _, row in pairs.iterrows():
        (effects,) = exact_effects(tiny_llama, [pair_of(row)])
        for number, change in enumerate(effects[:, 0]):
            _, margin, _ = rank_and_margin(effects[:, 0], number)
            where = dict(zip(("layer", "head"), divmod(number, tiny_llama.n_heads), strict=True))
            rows.append({**row, **where, "ld_change": change, "margin": margin})
    candidates = pd.DataFrame(rows)

    patched: list[int] = []
    one_pair = atlas_verification._patched

    def counted(model: LanguageModel, number: int, row: pd.Series) -> list[dict[str, object]]:
        patched.append(number)
        return one_pair(model, number, row)[:1]

    monkeypatch.setattr(atlas_verification, "_patched", counted)
    some = found(verify(tiny_llama, candidates))
    sparing = len(patched)
    patched.clear()
    # As if nothing were known of any rival.
    monkeypatch.setattr(atlas_verification, "FIRST", -1.0)
    every = found(verify(tiny_llama, candidates))
    assert some == every
    assert 0 < sparing < len(patched)


def test_parts_of_a_verification_make_the_whole(
    tiny_llama: LanguageModel, searched: pd.DataFrame
) -> None:
    shape = tiny_llama.n_layers, tiny_llama.n_heads
    whole = merge([verify(tiny_llama, searched)], Shape(*shape, None).heads)
    parts = merge(
        [verify(tiny_llama, searched, part=part, parts=3) for part in range(3)],
        Shape(*shape, None).heads,
    )
    pd.testing.assert_frame_equal(whole, parts)
    assert len(whole) == tiny_llama.n_layers * tiny_llama.n_heads


def test_an_atlas_of_nothing_has_a_row_for_every_head() -> None:
    empty = merge([], Shape(2, 3, None).heads)
    assert list(zip(empty["layer"], empty["head"], strict=True)) == [
        (layer, head) for layer in range(2) for head in range(3)
    ]
    assert empty["rank"].isna().all()
    assert empty["clean"].isna().all()


def test_merging_prefers_fluent_first_places() -> None:
    def row(change: float, margin: float, rank: int, fluent: bool) -> dict[str, object]:
        filled = dict.fromkeys(COLUMNS, 0) | dict.fromkeys(
            ("clean", "corrupted", "correct", "incorrect", "second"), "x"
        )
        return filled | {
            "ld_change": change,
            "margin": margin,
            "rank": rank,
            "fluent": fluent,
        }

    table = pd.DataFrame([row(5.0, 2.0, 1, False), row(0.6, 1.1, 1, True), row(9.0, 0.9, 2, True)])
    assert merge([table], [(0, 0)])["ld_change"].tolist() == [0.6]


# -- the workflow --------------------------------------------------------------------------------


def write_study(folder: Path, seeds: list[int]) -> None:
    """The small study with an atlas of these seeds."""
    raw = configuration()
    raw["studies"]["small"]["counterfactuals"] |= {
        "targets": [],
        "answer_in_prompt": "allow",
        "atlas": {
            "seeds": seeds,
            "budget": {"evaluations": 300},
            "settings": {"surprise": 50, "largest": 100, "variants": 6, "samples": 6},
        },
    }
    write_configuration(folder, raw)


@pytest.mark.workflow
def test_an_atlas_from_the_workflow(tmp_path: Path) -> None:
    """A row per head, and a new seed that searches for itself alone."""
    folder = prepare(tmp_path / "study")
    write_study(folder, [0])
    done = snakemake(folder, "atlas")
    assert done.returncode == 0, done.stdout
    results = folder / "results" / "small"
    for name in ("atlas", "atlas/likely_swaps"):
        table = read_table(results / f"{name}.parquet")
        assert list(table.columns) == list(COLUMNS)
        assert len(table) == 3 * 4
    assert read_table(results / "atlas.parquet")["rank"].notna().any()
    assert not list(results.rglob("*.checkpoint.safetensors"))
    assert planned_rules(folder, "atlas") == set()
    write_study(folder, [0, 1])
    planned = planned_jobs(folder, "atlas")
    assert planned["search_atlas"] == planned["search_atlas_baseline"] == 1
    # Each candidate is verified in one of the parts, of which there are now two.
    assert planned["verify_atlas"] == 2 * 2
