"""Generated pairs: objectives, archive and methods against plain brute force on tiny models."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.counterfactuals import objectives
from counterpoint.counterfactuals.archive import COLUMNS, TRACE_COLUMNS, Archive, ScoredPair, merge
from counterpoint.counterfactuals.evaluation.all_heads import (
    Pair,
    estimated_effects,
    first_order,
    kept_values,
    run_with_values,
)
from counterpoint.counterfactuals.evaluation.evaluated_pairs import MeasuredPairs
from counterpoint.counterfactuals.evaluation.exact_evaluation import Evaluator
from counterpoint.counterfactuals.evaluation.single_pair import pair_of
from counterpoint.counterfactuals.head_ranks import margins
from counterpoint.counterfactuals.hypervolume import (
    MAXIMISE,
    OBJECTIVES,
    REFERENCE,
    hypervolume,
    non_dominated,
)
from counterpoint.counterfactuals.language import writable_tokens
from counterpoint.counterfactuals.language.perplexity import mean_loss
from counterpoint.counterfactuals.language.sampling import LIKELIEST
from counterpoint.counterfactuals.language.writable_tokens import Vocabulary
from counterpoint.counterfactuals.methods import fluent
from counterpoint.counterfactuals.methods.candidate_niches import Candidate
from counterpoint.counterfactuals.methods.continuous_pairs import Relaxation
from counterpoint.counterfactuals.methods.descent import Descent, Neighbours, _jacobian, _losses
from counterpoint.counterfactuals.methods.evolution import Evolution, reference_directions
from counterpoint.counterfactuals.methods.fluent import Fluent
from counterpoint.counterfactuals.methods.method import Setup
from counterpoint.counterfactuals.methods.method_settings import (
    DescentSettings,
    EvolutionSettings,
    FluentSettings,
)
from counterpoint.counterfactuals.methods.proposals import Proposals
from counterpoint.counterfactuals.methods.search import METHODS, search
from counterpoint.counterfactuals.methods.start_choice import EditPlace, promising_places
from counterpoint.counterfactuals.methods.variants import Moves
from counterpoint.counterfactuals.pair_quality import quality
from counterpoint.counterfactuals.problem import (
    Budget,
    Ledger,
    SearchResult,
    Settings,
    Start,
    Target,
)
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import TokenPairs
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.errors import UserError
from counterpoint.files.artifacts import read_table, write_table
from counterpoint.measures.slopes import attribution_patching
from counterpoint.models.load import LanguageModel
from tests.helpers.interrupting import Interrupting
from tests.helpers.reference import PlainReference, plain_changes
from tests.helpers.tiny_models import make_tiny_model

START = " w5 w9 w12 w30 w7 w8"
TARGET = Target(1, 2)
LENIENT = Settings(answer_in_prompt="allow", smallest_change=-math.inf)


def make_evaluator(
    model: LanguageModel, settings: Settings = LENIENT, target: Target = TARGET
) -> Evaluator:
    return Evaluator(model, target, settings, Ledger(settings.budget), model.encode(START))


def make_pairs(model: LanguageModel, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of one length that differ at one place, and from each other at another."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.tensor([model.encode(START)]).repeat(count, 1)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    for row in clean:
        row[draw(2, 7)] = draw(5, 60)
    corrupted = clean.clone()
    for row in corrupted:
        place = draw(3, 7)
        row[place] = 5 + (int(row[place]) - 4) % 55
    return clean, corrupted


def plain_values(
    model: LanguageModel, target: Target, clean: torch.Tensor, corrupted: torch.Tensor
) -> dict[str, float]:
    """Everything about a pair, by whole forward passes of the reference and the definitions."""
    last = [model.hf(row[None]).logits[0] for row in (clean, corrupted)]
    correct, incorrect = (int(logits[-1].argmax()) for logits in last)
    reference = PlainReference(
        model.bridge(), clean, corrupted, lambda logits: logits[correct] - logits[incorrect]
    )
    with torch.no_grad():
        output = [
            float(reference.head(target.layer, target.head, alpha))
            for alpha in (0, 0.25, 0.5, 0.75, 1)
        ]
    change = output[0] - output[4]
    slopes = [4 * (one - other) for one, other in itertools.pairwise(output)]
    losses = [
        -sum(math.log(float(logits[t].softmax(-1)[row[t + 1]])) for t in range(len(row) - 1))
        / (len(row) - 1)
        for logits, row in zip(last, (clean, corrupted), strict=True)
    ]
    return {
        "correct": correct,
        "incorrect": incorrect,
        "ld_change": change,
        "evenness": max(-1, min(slopes) / (sum(slopes) / 4)) if change > 0 else -1,
        "loss_clean": losses[0],
        "loss_corrupted": losses[1],
    }


# -- objectives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([4, 3, 2, 1, 0], 1),  # straight
        ([4, 4, 2, 1, 0], 0),  # a quarter in which nothing moves
        ([4, 3, 4, 1, 0], -1),  # back as fast as the mean fall
        ([4, 2, 1, 0.5, 0], 0.5),
        ([1, 9, -9, 9, 0], -1),  # far back: cut off
        ([0, 1, 2, 3, 4], -1),  # a rise
    ],
)
def test_evenness(outputs: list[float], expected: float) -> None:
    assert float(objectives.evenness(torch.tensor(outputs, dtype=torch.float64))) == expected


def test_measured_values_are_those_of_whole_forward_passes(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model)
    evaluator = make_evaluator(tiny_model)
    (measured,) = evaluator.measure(clean, corrupted, origin=clean[:1])
    checked = 0
    for pair in measured.valid.nonzero()[:, 0].tolist():
        scored = measured.scored(pair, 0)
        plain = plain_values(
            tiny_model, TARGET, torch.tensor(scored.clean), torch.tensor(scored.corrupted)
        )
        for name in ("correct", "incorrect"):
            assert getattr(scored, name) == plain[name]
        for name in ("ld_change", "loss_clean", "loss_corrupted"):
            assert getattr(scored, name) == pytest.approx(plain[name], abs=1e-4)
        # A quotient of small numbers is as exact as the numbers.
        allowed = 1e-4 + 1e-4 / abs(plain["ld_change"])
        assert scored.evenness == pytest.approx(plain["evenness"], abs=allowed)
        assert scored.changed_tokens == int((clean[pair] != corrupted[pair]).sum())
        checked += 1
    assert checked >= 2


def test_a_batch_changes_nothing(tiny_llama: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_llama)
    evaluator = make_evaluator(tiny_llama)
    (together,) = evaluator.measure(clean, corrupted, origin=clean[:1])
    for row in range(len(clean)):
        part = slice(row, row + 1)
        (alone,) = evaluator.measure(clean[part], corrupted[part], origin=clean[:1])
        for name in ("loss_clean", "loss_corrupted", "ld_change", "evenness"):
            torch.testing.assert_close(
                getattr(alone, name)[0],
                getattr(together, name)[row],
                atol=2e-4,
                rtol=1e-4,
                equal_nan=True,
            )


def test_small_memory_splits_a_batch(tiny_llama: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_llama)
    evaluator = make_evaluator(tiny_llama, Settings(memory_mb=0, answer_in_prompt="allow"))
    parts = evaluator.measure(clean, corrupted, origin=clean[:1])
    assert [len(part.clean) for part in parts] == [1] * len(clean)


def test_evaluations_are_counted(tiny_llama: LanguageModel) -> None:
    """One prompt that all share, three prompts y, and 1 + 3 rows on the path for each good pair."""
    x = torch.tensor([tiny_llama.encode(START)])
    y = x.repeat(3, 1)
    y[:, 4] = torch.tensor([40, 41, 42])
    evaluator = make_evaluator(tiny_llama)
    (measured,) = evaluator.measure(x.repeat(3, 1), y, origin=x)
    good = int(measured.valid.sum())
    assert good > 0
    prefix, prompts = 1, 4
    assert evaluator.ledger.evaluations == prefix + prompts + 4 * good


def test_stages_spare_what_is_not_worth_it(tiny_llama: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_llama)
    evaluator = make_evaluator(tiny_llama)

    def only_first(measured: MeasuredPairs) -> torch.Tensor:
        chosen = torch.zeros_like(measured.valid)
        chosen[int(measured.valid.nonzero()[0])] = True
        return chosen

    (measured,) = evaluator.measure(clean, corrupted, origin=clean[:1], worth_curve=only_first)
    assert int((~measured.ld_change.isnan()).sum()) == int(measured.valid.sum()) > 1
    assert int((~measured.evenness.isnan()).sum()) == 1
    assert len(evaluator.complete(measured)) == 1


def test_losses_of_all_pairs_where_asked_for(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model)
    evaluator = make_evaluator(tiny_model)

    def none(measured: MeasuredPairs) -> torch.Tensor:
        return torch.zeros_like(measured.valid)

    (few,) = evaluator.measure(clean, corrupted, origin=clean[:1], worth_curve=none)
    assert few.loss_clean.isnan().all() and few.loss_corrupted.isnan().all()
    (every,) = evaluator.measure(
        clean, corrupted, origin=clean[:1], worth_curve=none, every_loss=True
    )
    torch.testing.assert_close(few.ld_change, every.ld_change, equal_nan=True)
    for found, prompts in ((every.loss_clean, clean), (every.loss_corrupted, corrupted)):
        plain = [mean_loss(tiny_model, prompt.tolist()) for prompt in prompts]
        torch.testing.assert_close(found, torch.tensor(plain), atol=1e-4, rtol=0)


def test_the_last_position_alone_is_the_whole_runs(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model)
    path = make_evaluator(tiny_model).path
    run, other = path.own_run(None, input_ids=clean), path.own_run(None, input_ids=corrupted)
    attention = run.attention + path.difference(run.z, other.z)
    whole, last = (
        path.patched(run.residual, attention, None, clean.shape[1], only_last=only_last)[:, -1]
        for only_last in (False, True)
    )
    torch.testing.assert_close(last, whole, atol=1e-4, rtol=1e-4)


def test_declared_answers(tiny_llama: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_llama)
    settings = Settings(answers=(" w40", " w41"), smallest_change=-math.inf)
    (measured,) = make_evaluator(tiny_llama, settings).measure(clean, corrupted, origin=clean[:1])
    token = tiny_llama.tokenizer.convert_tokens_to_ids
    assert set(measured.correct.flatten().tolist()) == {token("Ġw40")}
    assert set(measured.incorrect.flatten().tolist()) == {token("Ġw41")}
    with pytest.raises(UserError, match="2 tokens"):
        make_evaluator(tiny_llama, Settings(answers=(" w40 w41", " w41")))


def test_screening_replaces_by_the_mean(tiny_llama: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_llama, 1)
    prompts = torch.cat([clean, corrupted])
    screened = make_evaluator(tiny_llama).screen(prompts)
    projection = tiny_llama.output_projections[TARGET.layer]
    own = slice(TARGET.head * 8, (TARGET.head + 1) * 8)
    kept: list[torch.Tensor] = []

    def replace(module: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        z = args[0].clone()
        kept.append(args[0])
        z[:, 1:, own] = z[:, 1:, own].mean((0, 1))
        return (z,)

    with torch.no_grad():
        before = tiny_llama.hf(prompts).logits[:, 1:]
        handle = projection.register_forward_pre_hook(replace)
        after = tiny_llama.hf(prompts).logits[:, 1:]
        handle.remove()
    two = before.topk(2).indices
    fall = before.gather(-1, two) - after.gather(-1, two)
    torch.testing.assert_close(
        screened.ablation_fall, fall[..., 0] - fall[..., 1], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(screened.answers, two)
    declared = make_evaluator(tiny_llama, Settings(answers=(" w40", " w41"))).screen(prompts)
    two = torch.tensor([tiny_llama.tokenizer.convert_tokens_to_ids(["Ġw40", "Ġw41"])])
    two = two.expand(*before.shape[:-1], 2)
    fall = before.gather(-1, two) - after.gather(-1, two)
    torch.testing.assert_close(
        declared.ablation_fall, fall[..., 0] - fall[..., 1], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(declared.answers, two)
    for row, prompt in enumerate(prompts):
        logits = tiny_llama.hf(prompt[None]).logits[0]
        losses = torch.nn.functional.cross_entropy(logits[:-1], prompt[1:], reduction="none")
        for end in range(len(prompt) - 1):
            assert float(screened.loss[row, end]) == pytest.approx(
                float(losses[: end + 1].mean()), abs=1e-4
            )
    with torch.no_grad():
        attention = tiny_llama.hf(prompts, output_attentions=True).attentions[TARGET.layer]
    torch.testing.assert_close(
        screened.run.pattern, attention[:, TARGET.head], atol=1e-5, rtol=1e-5
    )


def test_written_sentences_leave_their_runs(tiny_model: LanguageModel) -> None:
    starts = [tuple(tiny_model.encode(START))] * 2

    def moves() -> Moves:
        evaluator = make_evaluator(tiny_model)
        propose = Proposals(evaluator, torch.Generator().manual_seed(0))
        return Moves(evaluator, propose, FluentSettings())

    writing = moves()
    for length in (9, 2):
        prompts, run = writing.samples_with_runs(starts, 4, length)
        whole = writing.evaluator.path.own_run(None, input_ids=prompts)
        for name, value in vars(run).items():
            torch.testing.assert_close(value, vars(whole)[name], atol=1e-4, rtol=1e-4)
    assert writing.evaluator.ledger.evaluations == 2 * 4
    # The same sentences as without their runs, and the same of them.
    prompts, run = (written := moves()).samples_with_runs(starts, 4, 9)
    assert list(map(tuple, prompts.tolist())) == moves().samples(starts, 4, 9)
    screened = written.evaluator.screen(prompts, run)
    assert written.evaluator.ledger.evaluations == 2 * 4
    again = written.evaluator.screen(prompts)
    torch.testing.assert_close(screened.ablation_fall, again.ablation_fall, atol=1e-4, rtol=1e-4)
    # Rows of two runs are those of one.
    one, rest = (writing.propose.write(rows, 0)[1] for rows in (prompts[:1], prompts[1:]))
    both = one.with_rows(rest)
    for name, value in vars(both).items():
        torch.testing.assert_close(value, vars(run)[name], atol=1e-4, rtol=1e-4)


def test_promising_places_can_be_edited(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model, 4)
    prompts = torch.cat([clean, corrupted])
    evaluator = make_evaluator(tiny_model)
    propose = Proposals(evaluator, torch.Generator().manual_seed(0))
    moves = Moves(evaluator, propose, FluentSettings(proposals=20))

    def places(cap: float) -> list[EditPlace]:
        return promising_places(moves, prompts, cap=cap, tries=3, count=4)

    first = moves.first
    found = places(math.inf)
    # Each sentence is a beginning of one of the prompts that lean on the head most.
    assert len(found) == 4
    assert [one.promise for one in found] == sorted((one.promise for one in found), reverse=True)
    leaning = make_evaluator(tiny_model).screen(prompts).ablation_fall[:, 3:].amax(1)
    most = [prompts[row].tolist() for row in leaning.argsort(descending=True)[:4]]
    for one in found:
        assert list(one.sentence) in [prompt[: len(one.sentence)] for prompt in most]
    assert evaluator.ledger.evaluations == 2 * len(prompts) + 5 * len(found)
    for one in found:
        assert first <= one.position < len(one.sentence)
        assert one.token != one.sentence[one.position]
        written = moves.edits(one.sentence, one.position, (one.sentence,), TARGET, one.token)
        assert one.token in written.prompts[:, one.position]
        assert any(one.sentence == tuple(row[: len(one.sentence)]) for row in prompts.tolist())
    # A cap leaves out what is above it.
    screened = evaluator.screen(prompts)
    cap = float(screened.loss[:, 3:].median())
    for one in places(cap):
        row = next(
            number
            for number, prompt in enumerate(prompts.tolist())
            if one.sentence == tuple(prompt[: len(one.sentence)])
        )
        assert float(screened.loss[row, len(one.sentence) - 2]) <= cap + 1e-5


def test_promise_is_that_of_whole_runs(tiny_model: LanguageModel) -> None:
    """What is run of an edit is only a part of it; the plain way runs both prompts whole."""
    prompts = torch.cat(make_pairs(tiny_model, 4))
    evaluator = make_evaluator(tiny_model)
    moves = Moves(
        evaluator,
        Proposals(evaluator, torch.Generator().manual_seed(0)),
        FluentSettings(proposals=20),
    )
    found = promising_places(moves, prompts, cap=math.inf, tries=3, count=4)
    screened = make_evaluator(tiny_model).screen(prompts)
    number = TARGET.layer * tiny_model.n_heads + TARGET.head
    for one in found:
        x = torch.tensor([one.sentence])
        y = x.clone()
        y[0, one.position] = one.token
        end = x.shape[1] - 2
        row = [list(one.sentence) == row[: end + 2] for row in prompts.tolist()].index(True)
        with torch.enable_grad(), kept_values(tiny_model, differentiable=True) as z:
            read = tiny_model.hf(x, use_cache=False).logits[0, -1]
            correct, incorrect = read.topk(2).indices
            gradients = torch.autograd.grad(read[incorrect] - read[correct], z)
        effects = estimated_effects(
            tiny_model.n_heads,
            list(gradients),
            [
                to - fro
                for fro, to in zip(
                    *(run_with_values(tiny_model, ids).z for ids in (x, y)), strict=True
                )
            ],
        )
        sizes = effects.abs().double().numpy()
        first_order = float(quality(sizes[:, number], margins(sizes)[:, number])[0])
        leans = float(screened.ablation_fall[row, end].clamp_min(0))
        assert one.promise == pytest.approx(leans * first_order**0.5, rel=1e-3, abs=1e-6)


# -- what may be kept ----------------------------------------------------------------------------


def test_vocabulary(tiny_llama: LanguageModel) -> None:
    words = Vocabulary(tiny_llama, tiny_llama.encode(START))
    special = torch.tensor(tiny_llama.tokenizer.all_special_ids)
    assert not words.allowed[special].any()
    assert words.allowed[5:].all()
    assert words.round_trips(tiny_llama.encode(START))
    # "w" (4) after a word becomes part of it: " w5w" is no text of these two tokens.
    assert not words.round_trips([1, 5, 4])
    assert words.word[3] == words.word[4], "with and without space it is one word"


def test_the_vocabulary_is_read_as_transformers_reads_it(tiny_llama: LanguageModel) -> None:
    tokenizer = tiny_llama.tokenizer
    rows = [[5, token, 7] for token in range(len(tokenizer))]
    texts = tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)
    assert writable_tokens.decoded(tiny_llama, rows) == texts
    wanted = tokenizer(texts, add_special_tokens=False)["input_ids"]
    backend = tokenizer.backend_tokenizer
    backend.enable_padding(length=9)
    backend.enable_truncation(2)
    assert writable_tokens.encoded(tiny_llama, texts) == wanted


def test_answers_in_prompts(tiny_llama: LanguageModel) -> None:
    words = Vocabulary(tiny_llama, tiny_llama.encode(START))
    prompt = torch.tensor([[1, 10, 11, 12]])
    assert [words.inside(torch.tensor([one]), prompt).tolist() for one in (11, 20)] == [
        [True],
        [False],
    ]
    # What stood there from the beginning was not written.
    origin = torch.tensor([[1, 5, 11, 5]])
    assert words.inside(torch.tensor([11]), prompt, origin).tolist() == [False]


@pytest.mark.parametrize("rule", ["forbid", "unwritten", "allow"])
def test_rule_on_answers_in_prompts(tiny_llama: LanguageModel, rule: str) -> None:
    clean, corrupted = make_pairs(tiny_llama, 40)
    settings = Settings(answer_in_prompt=rule, smallest_change=-math.inf)
    evaluator = make_evaluator(tiny_llama, settings)
    (measured,) = evaluator.measure(clean, corrupted, origin=clean[:1])
    inside = torch.zeros(len(clean), dtype=torch.bool)
    for pair in range(len(clean)):
        answers = {int(measured.correct[pair]), int(measured.incorrect[pair])}
        for prompt in (clean[pair], corrupted[pair]):
            written = (prompt != clean[0]) if rule == "unwritten" else prompt > -1
            inside[pair] |= bool(answers & set(prompt[written].tolist()))
    assert inside.any() and not inside.all()
    different = measured.correct != measured.incorrect
    expected = different if rule == "allow" else different & ~inside
    assert measured.valid.tolist() == expected.tolist()


# -- archive ------------------------------------------------------------------------------------


def random_points(count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack(
        [
            generator.choice([0.0, 0.5, 1.0, 2.0, 5.0], count),
            generator.choice([-1.0, 0.2, 0.9, 1.0], count),
            generator.choice([1.0, 2.0, 5.0, 30.0], count),
            generator.choice([2.0, 3.0, 8.0, 13.0], count),
        ],
        axis=1,
    )


def as_losses(points: np.ndarray) -> np.ndarray:
    return points * np.where(MAXIMISE, -1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_dominance_against_brute_force(seed: int) -> None:
    points = random_points(30, seed)
    losses = as_losses(points)
    dominated = [
        any((other <= one).all() and (other < one).any() for other in losses) for one in losses
    ]
    assert non_dominated(points).tolist() == [not value for value in dominated]


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_against_brute_force(seed: int) -> None:
    """Space is cut into boxes at every coordinate; a box counts when a point dominates it."""
    points = random_points(7, seed)
    losses, corner = as_losses(points), np.array(REFERENCE) * np.where(MAXIMISE, -1, 1)
    edges = [
        np.unique(np.append(np.minimum(losses[:, axis], corner[axis]), corner[axis]))
        for axis in range(4)
    ]
    total = 0.0
    for place in itertools.product(*(range(len(edge) - 1) for edge in edges)):
        low = np.array([edge[i] for edge, i in zip(edges, place, strict=True)])
        high = np.array([edge[i + 1] for edge, i in zip(edges, place, strict=True)])
        if any((loss <= low).all() for loss in losses):
            total += float(np.prod(high - low))
    assert hypervolume(points) == pytest.approx(total / 480)


def test_a_perfect_pair_has_its_ld_change_as_hypervolume() -> None:
    assert hypervolume(np.array([[3.0, 1.0, 1.0, 0.0]])) == pytest.approx(3.0)
    assert hypervolume(np.zeros((0, 4))) == 0


def make_scored(number: int, point: np.ndarray) -> ScoredPair:
    changed = int(point[2])
    return ScoredPair(
        clean=(1, 5, *[6] * 30),
        corrupted=(1, 5, *[7] * changed, *[6] * (30 - changed)),
        correct=number,
        incorrect=0,
        ld_change=float(point[0]),
        evenness=float(point[1]),
        loss_clean=float(point[3]),
        loss_corrupted=0.0,
        evaluations=number,
    )


def test_archive_keeps_what_brute_force_keeps() -> None:
    points = random_points(40, 9)
    pairs = [
        # Each has its own text, so that none counts as found before.
        ScoredPair(**{**vars(make_scored(n, p)), "clean": (1, 100 + n, *[6] * 30)})
        for n, p in enumerate(points)
    ]
    pairs = [
        ScoredPair(**{**vars(pair), "corrupted": (1, pair.clean[1], *pair.corrupted[2:])})
        for pair in pairs
    ]
    archive = Archive(Ledger(Budget()))
    for start in range(0, 40, 7):
        archive.add(pairs[start : start + 7])
    archive.add(pairs[:10])  # once more: nothing new
    expected = {
        pair.correct for pair, stays in zip(pairs, non_dominated(points), strict=True) if stays
    }
    assert {pair.correct for pair in archive.pairs} == expected
    inside = archive.would_enter(points)
    losses, kept = as_losses(points), as_losses(archive.points())
    assert inside.tolist() == [not any((one <= loss).all() for one in kept) for loss in losses]


def test_merged_archives(tiny_llama: LanguageModel) -> None:
    first = search(tiny_llama, "descent", TARGET, START, Settings(Budget(300)), seed=0).archive
    other = search(tiny_llama, "descent", TARGET, START, Settings(Budget(300)), seed=1).archive
    both = merge([first, other])
    assert len(both) == len(first) + len(other)
    points = both.assign(log_perplexity=np.log(both["perplexity"]))[list(OBJECTIVES)]
    assert both["non_dominated"].tolist() == non_dominated(points.to_numpy(float)).tolist()
    assert both["ld_change"].is_monotonic_decreasing


# -- relaxation ----------------------------------------------------------------------------------


def test_pulls_are_the_slopes_where_the_prompts_are_equal(tiny_model: LanguageModel) -> None:
    prompts = torch.cat(make_pairs(tiny_model, 3))
    evaluator = make_evaluator(tiny_model, target=Target(0, 1))
    relaxed = Relaxation(evaluator)
    pulls = relaxed.pulls(prompts)
    assert evaluator.ledger.evaluations == 2 * len(prompts)
    slopes = relaxed.slopes(torch.stack([prompts, prompts], 1))[:, 1]
    torch.testing.assert_close(pulls, slopes, atol=1e-5, rtol=1e-4)
    assert pulls.abs().max() > 1e-3


def test_neighbours_are_the_nearest_tokens_however_often_asked(tiny_llama: LanguageModel) -> None:
    table = Relaxation(make_evaluator(tiny_llama)).table
    neighbours = Neighbours(table)
    for tokens in ([7, 9, 7], [9, 30, 12]):
        near, unit = neighbours.of(torch.tensor(tokens))
        for place, token in enumerate(tokens):
            apart = (table - table[token]).norm(dim=1)
            order = apart.argsort()
            assert near[place, 0] == token
            assert set(near[place].tolist()) == set(order[: near.shape[1]].tolist())
            assert float(unit[place]) == pytest.approx(float(apart[order[1]]) ** 2, rel=1e-3)


def test_relaxed_outputs_at_tokens_are_the_pairs_own(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model)
    evaluator = make_evaluator(tiny_model)
    relaxed = Relaxation(evaluator)
    (measured,) = evaluator.measure(clean, corrupted, origin=clean[:1])
    # All pairs together, as each would be alone.
    run = relaxed.run(relaxed.embed(torch.stack([clean, corrupted], 1)))
    for row in measured.valid.nonzero()[:, 0].tolist():
        assert run.answers[row].tolist() == [
            int(measured.correct[row]),
            int(measured.incorrect[row]),
        ]
        change = objectives.ld_change(run.outputs[row].detach())
        torch.testing.assert_close(change, measured.ld_change[row], atol=1e-4, rtol=1e-4)


def test_gradient_of_the_relaxation() -> None:
    model = make_tiny_model("llama", "float64")
    clean, corrupted = make_pairs(model, 1)
    relaxed = Relaxation(make_evaluator(model, Settings(answers=(" w40", " w41"))))
    tokens = torch.cat([clean, corrupted])

    def change(embeddings: torch.Tensor) -> torch.Tensor:
        return objectives.ld_change(relaxed.run(embeddings[None]).outputs[0])

    embeddings = relaxed.embed(tokens).requires_grad_()
    (gradient,) = torch.autograd.grad(change(embeddings), embeddings)
    direction = torch.randn(
        embeddings.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    with torch.no_grad():
        ahead, behind = (change(embeddings + step * direction) for step in (1e-3, -1e-3))
    expected = float((ahead - behind) / 2e-3)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)


# -- methods -------------------------------------------------------------------------------------

BUDGET = Settings(Budget(evaluations=500), answer_in_prompt="unwritten")
STARTS = [Start(START, f" w5 w9 w12 w{30 + n} w7 w8") for n in range(1, 12)]
SEEDLESS = {"template_swaps"}
"""Methods that draw nothing."""


@pytest.fixture(scope="module", params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def found(method: str, tiny_llama: LanguageModel) -> SearchResult:
    return search(tiny_llama, method, TARGET, STARTS, BUDGET, seed=0)


def test_every_final_value_is_the_references(
    found: SearchResult, tiny_llama: LanguageModel
) -> None:
    assert len(found.archive) > 0
    for row in found.archive.head(5).itertuples():
        clean, corrupted = (
            torch.tensor(tiny_llama.encode(text)) for text in (row.clean, row.corrupted)
        )
        assert clean.tolist() == list(row.clean_tokens), "the text gives the tokens again"
        assert corrupted.tolist() == list(row.corrupted_tokens)
        plain = plain_values(tiny_llama, TARGET, clean, corrupted)
        assert (row.correct_token, row.incorrect_token) == (plain["correct"], plain["incorrect"])
        assert row.correct == tiny_llama.decode([row.correct_token])
        assert row.ld_change == pytest.approx(plain["ld_change"], abs=1e-4)
        allowed = 1e-4 + 1e-4 / abs(plain["ld_change"])
        assert row.evenness == pytest.approx(plain["evenness"], abs=allowed)
        assert row.changed_tokens == int((clean != corrupted).sum())
        assert math.log(row.perplexity_clean) == pytest.approx(plain["loss_clean"], abs=1e-4)
        assert math.log(row.perplexity_corrupted) == pytest.approx(
            plain["loss_corrupted"], abs=1e-4
        )
        assert row.perplexity == max(row.perplexity_clean, row.perplexity_corrupted)


def test_tables_have_their_columns(found: SearchResult, method: str) -> None:
    assert tuple(found.archive.columns) == COLUMNS
    assert tuple(found.trace.columns) == TRACE_COLUMNS
    assert set(found.archive["method"]) == {method}
    assert found.archive["non_dominated"].any()
    assert (found.archive["ld_change"] >= BUDGET.smallest_change).all()
    points = found.archive.assign(log_perplexity=np.log(found.archive["perplexity"]))
    points = points.loc[points["non_dominated"], list(OBJECTIVES)].to_numpy(float)
    assert non_dominated(points).all()


def test_trace(found: SearchResult) -> None:
    trace = found.trace
    assert trace["evaluations"].is_monotonic_increasing
    assert trace["hypervolume"].is_monotonic_increasing
    points = found.archive.assign(log_perplexity=np.log(found.archive["perplexity"]))
    points = points.loc[points["non_dominated"], list(OBJECTIVES)].to_numpy(float)
    assert trace["hypervolume"].iloc[-1] == pytest.approx(hypervolume(points))
    assert trace["best_ld_change"].iloc[-1] == found.archive["ld_change"].max()
    # A search ends a batch late at most.
    assert trace["evaluations"].iloc[-1] < BUDGET.budget.evaluations + 120


def test_same_seed_same_result(found: SearchResult, method: str, tiny_llama: LanguageModel) -> None:
    again = search(tiny_llama, method, TARGET, STARTS, BUDGET, seed=0)
    pd.testing.assert_frame_equal(again.archive, found.archive)
    pd.testing.assert_frame_equal(
        again.trace.drop(columns="seconds"), found.trace.drop(columns="seconds")
    )
    other = search(tiny_llama, method, TARGET, STARTS, BUDGET, seed=1)
    if method in SEEDLESS:
        return
    assert not other.archive.drop(columns="seed").equals(found.archive.drop(columns="seed"))


def test_a_resumed_search_ends_as_one_that_was_not_interrupted(
    found: SearchResult, method: str, tiny_llama: LanguageModel, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.safetensors"
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            search(
                tiny_llama, method, TARGET, STARTS, BUDGET, checkpoints=Interrupting(file, after)
            )
    last = Interrupting(file)
    resumed = search(tiny_llama, method, TARGET, STARTS, BUDGET, checkpoints=last)
    pd.testing.assert_frame_equal(resumed.archive, found.archive)
    pd.testing.assert_frame_equal(
        resumed.trace.drop(columns="seconds"), found.trace.drop(columns="seconds")
    )
    # It went on, and did not begin again.
    counted = Interrupting(tmp_path / "other.safetensors")
    search(tiny_llama, method, TARGET, STARTS, BUDGET, checkpoints=counted)
    assert last.kept_states == counted.kept_states - 3 > 0
    last.remove()
    assert not file.exists()


def test_a_checkpoint_of_another_search_is_not_used(
    tiny_llama: LanguageModel, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        checkpoints = Interrupting(file, 2, depends=["one"])
        search(tiny_llama, "fluent", TARGET, STARTS, BUDGET, checkpoints=checkpoints)
    assert Interrupting(file, depends=["one"]).kept() is not None
    assert Interrupting(file, depends=["other"]).kept() is None


def test_a_search_starts_from_one_prompt(method: str, tiny_llama: LanguageModel) -> None:
    result = search(tiny_llama, method, TARGET, START, Settings(Budget(200)))
    assert len(result.archive) or result.archive.attrs["reason"]


def test_choice_orders_an_archive(found: SearchResult) -> None:
    assert sorted(found.archive["choice"]) == list(range(1, len(found.archive) + 1))


@pytest.mark.parametrize("aggregator", ["upgrad", "mgda"])
def test_aggregators(aggregator: str, tiny_llama: LanguageModel) -> None:
    settings = Settings(Budget(300), method=DescentSettings(aggregator=aggregator))
    assert len(search(tiny_llama, "descent", TARGET, START, settings).archive)


def test_an_empty_archive_says_why(method: str, tiny_llama: LanguageModel, tmp_path) -> None:
    settings = Settings(Budget(400), smallest_change=1e9)
    empty = search(tiny_llama, method, TARGET, STARTS, settings).archive
    assert len(empty) == 0 and tuple(empty.columns) == COLUMNS
    assert "the LD change is too small" in empty.attrs["reason"]
    write_table(merge([empty, empty]), tmp_path / "empty.parquet")
    kept = read_table(tmp_path / "empty.parquet")
    assert kept.attrs["reason"] == empty.attrs["reason"]
    assert len(merge([kept, search(tiny_llama, method, TARGET, STARTS, BUDGET).archive]))


@pytest.mark.parametrize("changes", [1, 2])
def test_fluent_pairs_are_small_fluent_edits(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    followed: list[int] = []
    keep = Fluent._keep

    def kept(self: Fluent, pair: Candidate) -> None:
        followed.append(len(pair.places))
        keep(self, pair)

    monkeypatch.setattr(Fluent, "_keep", kept)
    texts = dict.fromkeys(text for one in STARTS for text in (one.clean, one.corrupted) if text)
    starts = [torch.tensor(tiny_llama.encode(text)) for text in texts]
    losses = [
        float(torch.nn.functional.cross_entropy(tiny_llama.hf(row[None]).logits[0, :-1], row[1:]))
        for row in starts
    ]
    settings = Settings(Budget(1500), method=FluentSettings(changes=changes, samples=8))
    cap = sum(losses) / len(losses) + 0.5
    most = []
    for seed in range(3):
        followed.clear()
        archive = search(tiny_llama, "fluent", TARGET, STARTS, settings, seed=seed).archive
        assert len(archive) > 3
        assert max(followed) == changes
        assert archive["changed_tokens"].max() <= changes
        most.append(archive["changed_tokens"].max())
        assert np.log(archive["perplexity"]).max() <= cap + 1e-4
        first = archive.sort_values("choice").iloc[0]
        assert first["ld_change"] > 0.1
    # Every search follows pairs of two tokens; an archive keeps none where one token does as much.
    assert max(most) == changes


def test_fluent_goes_on_searching_until_the_target_comes_first(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(Budget(1000), method=FluentSettings(samples=8))

    def steps() -> list[str]:
        taken = []
        with monkeypatch.context() as patched:
            for name in ("_confirm", "_polish", "_variants"):
                original = getattr(Fluent, name)

                def counted(self, *given, original=original, name=name):
                    taken.append(name)
                    return original(self, *given)

                patched.setattr(Fluent, name, counted)
            assert len(search(tiny_llama, "fluent", TARGET, STARTS, settings).archive)
        return taken

    assert {*steps()} == {"_confirm", "_polish", "_variants"}
    # More than any pair is worth.
    monkeypatch.setattr(fluent, "FIRST", math.inf)
    assert {*steps()} == {"_variants"}


@pytest.mark.parametrize("method", ["fluent", "proposal_only"])
def test_searches_by_variants_keep_to_declared_answers(
    tiny_llama: LanguageModel, method: str
) -> None:
    answers = (" w40", " w41")
    settings = Settings(Budget(600), answers=answers, method=FluentSettings(samples=8))
    archive = search(tiny_llama, method, TARGET, STARTS, settings).archive
    assert len(archive)
    assert set(zip(archive["correct"], archive["incorrect"], strict=True)) == {answers}
    place = TARGET.layer * tiny_llama.n_heads + TARGET.head
    for _, row in archive.head(4).iterrows():
        exact = plain_changes(tiny_llama, pair_of(row))[place]
        assert row["ld_change"] == pytest.approx(exact, abs=1e-4)


def test_a_confirmed_pair_is_kept_the_way_round_that_is_worth_more(
    tiny_llama: LanguageModel,
) -> None:
    """By whole passes of the reference; the model has fewer heads than are patched."""
    place = TARGET.layer * tiny_llama.n_heads + TARGET.head
    kept = set()
    for clean, corrupted in zip(*make_pairs(tiny_llama, 8), strict=True):
        logits = tiny_llama.hf(torch.stack([clean, corrupted])).logits[:, -1]
        correct, incorrect = logits.argmax(-1).tolist()
        if correct == incorrect:
            continue
        setup = Setup(
            make_evaluator(tiny_llama),
            Archive(Ledger(LENIENT.budget)),
            [(clean.tolist(), corrupted.tolist())],
            LENIENT,
            torch.Generator().manual_seed(0),
        )
        searching = Fluent(setup)
        pair = Candidate(
            clean=tuple(clean.tolist()),
            corrupted=tuple(corrupted.tolist()),
            origin=(tuple(clean.tolist()),),
            correct=correct,
            incorrect=incorrect,
            ld_change=0.0,
            margin=0.0,
            loss_clean=1.0,
            loss_corrupted=1.0,
        )
        assert pair.turned.turned.pair == pair.pair
        worth = {}
        for one in (pair, pair.turned):
            effects = plain_changes(tiny_llama, one.pair)
            margin = margins(effects[None])[0, place]
            worth[one.pair] = float(quality(effects[place], margin))
        assert searching.estimator.is_new(pair)
        searching.niche.take_in(pair)
        spent = searching.ledger.evaluations
        searching._confirm(pair)
        assert searching.ledger.evaluations >= spent + 2 * (5 + 2 + len(effects))
        (best, *_) = searching.niche.elites
        higher = max(worth, key=lambda one: worth[one])
        if worth[higher] > 0:
            assert best.pair == higher
            assert best.quality - 2 * best.edit_transfers == pytest.approx(worth[higher], abs=1e-3)
            kept.add(best.pair == pair.pair)
        # Once is enough.
        spent = searching.ledger.evaluations
        searching._confirm(best)
        assert searching.ledger.evaluations < spent + 2 * (5 + 2 + len(effects))
    assert kept == {True, False}


def test_fluent_prefers_what_is_confirmed_to_what_seems_better(tiny_llama: LanguageModel) -> None:
    setup = Setup(
        make_evaluator(tiny_llama),
        Archive(Ledger(LENIENT.budget)),
        [([0, 5, 6, 7], [0, 5, 6, 8])],
        LENIENT,
        torch.Generator().manual_seed(0),
    )
    searching = Fluent(setup)

    def candidate(first: int, margin: float) -> Candidate:
        prompts = (0, first, 6, 7), (0, first, 6, 8)
        return Candidate(*prompts, (prompts[0],), 1, 2, 1.2, margin, 1.0, 1.0)

    better, first, behind = candidate(5, 1.9), candidate(6, 1.2), candidate(7, 0.9)
    for one in (better, first, behind):
        searching.niche.take_in(one)
    for one, wanted in (
        (behind, [better, first, behind]),
        (first, [first, better, behind]),
        (better, [better, first, behind]),
    ):
        searching.confirmed.add((one.clean, one.corrupted))
        assert searching._preferred() == wanted


def test_fluent_finds_no_less_than_it_was_given(tiny_llama: LanguageModel) -> None:
    own = FluentSettings(surprise=100.0, largest=100.0)
    settings = Settings(budget=Budget(evaluations=300), method=own)
    given = search(tiny_llama, "template_swaps", TARGET, STARTS, settings).archive
    found = search(tiny_llama, "fluent", TARGET, STARTS, settings).archive
    assert len(given)
    assert found["ld_change"].max() >= given["ld_change"].max()


def test_evolution_stops_at_enough(tiny_llama: LanguageModel) -> None:
    settings = Settings(Budget(5000), method=EvolutionSettings(enough=0.05))
    result = search(tiny_llama, "evolution", TARGET, START, settings)
    assert result.archive["ld_change"].max() >= 0.05
    assert result.trace["evaluations"].iloc[-1] < 5000


@given(st.integers(4, 200))
def test_reference_directions_lie_evenly_on_the_simplex(most: int) -> None:
    directions = reference_directions(most)
    assert 4 <= len(directions) <= most
    np.testing.assert_allclose(directions.sum(1), 1)
    assert directions.min() >= 0
    # The next finer lattice would have too many: 4, 10, 20, 35, … points.
    step = directions[directions > 1e-9].min()
    finer = round(1 / step) + 1
    assert math.comb(finer + 3, 3) > most


def test_descents_gradients_are_each_objectives_own(tiny_model: LanguageModel) -> None:
    tokens = torch.cat(make_pairs(tiny_model, 1))
    relaxed = Relaxation(make_evaluator(tiny_model))
    embeddings = relaxed.embed(tokens).requires_grad_()
    run = relaxed.run(embeddings[None])
    losses = _losses(run, embeddings, tokens, Neighbours(relaxed.table), scale=1.0)
    found = _jacobian(losses, embeddings)
    for mine, loss in zip(found, losses, strict=True):
        (own,) = torch.autograd.grad(loss, embeddings, retain_graph=True)
        torch.testing.assert_close(mine, own, atol=1e-5, rtol=1e-4)
    assert found.flatten(1).norm(dim=1).gt(0).all()


def test_descent_takes_the_starts_in_turn_whatever_their_length(tiny_model: LanguageModel) -> None:
    starts = [tiny_model.encode(" ".join(f"w{i}" for i in range(n))) for n in (5, 3, 3, 4)]
    budget = Settings(
        Budget(10_000),
        answer_in_prompt="allow",
        smallest_change=math.inf,
        method=DescentSettings(patience=2),
    )
    evaluator = make_evaluator(tiny_model, budget)
    generator = torch.Generator().manual_seed(0)
    pairs = [(one, one) for one in starts]
    found = Descent(Setup(evaluator, Archive(evaluator.ledger), pairs, budget, generator))
    begun = []
    for _ in range(9):
        # Nothing is ever good enough, so that each has as many steps as it is patient for.
        found.step()
        begun.append(found._origin()[0].tolist())
    assert begun == [one for one in (*starts, starts[0]) for _ in range(2)][:9]


def test_evolution_projects_to_the_nearest_tokens(tiny_llama: LanguageModel) -> None:
    evaluator, generator = make_evaluator(tiny_llama), torch.Generator().manual_seed(0)
    start = tiny_llama.encode(START)
    archive = Archive(evaluator.ledger)
    search = Evolution(Setup(evaluator, archive, [(start, start)], LENIENT, generator))
    search.step()
    search.step()
    table = tiny_llama.embedding(torch.arange(tiny_llama.d_vocab))
    for pair in search._pairs(search.algorithm.pop.get("X")):
        for _ in range(2):
            tokens = search.project(pair)
            for row, one in zip(tokens, pair, strict=True):
                for place in range(1, len(row)):
                    apart = (table - one[place]).norm(dim=1)
                    able = search.allowed[0, place]
                    assert apart[row[place]] <= apart[able].min() * (1 + 1e-4)


# -- what the methods stand on -------------------------------------------------------------------


def test_first_order_effects_are_the_engines_and_those_halfway(tiny_model: LanguageModel) -> None:
    clean, corrupted = make_pairs(tiny_model, 1)
    pairs = TokenPairs(clean, corrupted, ((40,),), ((41,),), (0,))
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, pairs))
    expected = attribution_patching(engine, "noising", "head", every_unit(tiny_model, 1, "head"))
    pair = Pair(tuple(clean[0].tolist()), tuple(corrupted[0].tolist()), 40, 41)
    own, halfway = first_order(tiny_model, pair)
    np.testing.assert_allclose(-own, expected, atol=1e-4, rtol=1e-3)
    # Halfway: a small step of one head's output along its difference, by plain runs.
    ends = tiny_model.embedding(torch.cat([clean, corrupted]))
    point = ends.mean(0, keepdim=True)
    z_x, z_y = (
        run_with_values(tiny_model, tokens).z[TARGET.layer] for tokens in (clean, corrupted)
    )
    width = z_x.shape[-1] // tiny_model.n_heads
    own_values = slice(TARGET.head * width, (TARGET.head + 1) * width)
    step = torch.zeros_like(z_x)
    step[..., own_values] = (z_y - z_x)[..., own_values]

    @torch.no_grad()
    def fall(size: float) -> float:
        handle = tiny_model.output_projections[TARGET.layer].register_forward_pre_hook(
            lambda module, args: (args[0] + size * step,)
        )
        read = tiny_model.hf(inputs_embeds=point).logits[0, -1]
        handle.remove()
        return float(read[41] - read[40])

    slope = (fall(0.05) - fall(-0.05)) / 0.1
    number = TARGET.layer * tiny_model.n_heads + TARGET.head
    assert halfway[number] == pytest.approx(slope, rel=2e-2, abs=1e-3)


def test_samples_are_the_models_own(tiny_llama: LanguageModel) -> None:
    """With one prompt the draws follow the model; with two, the product of both."""
    evaluator = make_evaluator(tiny_llama)
    propose = Proposals(evaluator, torch.Generator().manual_seed(0))
    clean, corrupted = make_pairs(tiny_llama, 1)
    both = torch.cat([clean, corrupted])
    count = 4000
    drawn = propose.continue_together(both, count, 1)[:, 0]
    logits = tiny_llama.hf(both).logits[:, -1].log_softmax(-1).mean(0)
    likely = logits.masked_fill(~evaluator.vocabulary.allowed, -torch.inf)
    expected = torch.zeros_like(likely)
    values, indices = likely.topk(LIKELIEST)
    expected[indices] = values.softmax(-1)
    share = torch.bincount(drawn, minlength=len(expected)) / count
    assert float((share - expected).abs().max()) < 4 * (0.25 / count) ** 0.5
    assert evaluator.ledger.evaluations == 2 * count


def test_a_drawn_tail_is_run_on_what_was_drawn(tiny_llama: LanguageModel) -> None:
    """Every drawn token is among the likeliest after the tokens drawn before it."""
    evaluator = make_evaluator(tiny_llama)
    propose = Proposals(evaluator, torch.Generator().manual_seed(0))
    clean, _ = make_pairs(tiny_llama, 1)
    tails = propose.continue_together(clean, 5, 4)
    for tail in tails:
        whole = torch.cat([clean[0], tail])
        scores = propose.log_probabilities(whole[None])[0]
        for place in range(clean.shape[1], len(whole)):
            assert whole[place] in scores[place - 1].topk(LIKELIEST).indices


# -- users' mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": ""}, "has 1 tokens"),
        ({"start": " w5" * 64}, "has 65 tokens; the model's context holds 64"),
        ({"start": Start(START, " w5 w6")}, "7 tokens and .* 3; expected equally many"),
        ({"start": []}, "no start prompt"),
        ({"target": Target(1, 4)}, "head 1.4 is out of range; .* layers 0 to 2 and heads 0 to 3"),
        ({"target": Target(3, 0)}, "head 3.0 is out of range"),
        ({"method": "luck"}, "'luck' is unknown; expected .*descent"),
    ],
)
def test_mistakes(arguments: dict[str, object], message: str, tiny_llama: LanguageModel) -> None:
    given = {"method": "descent", "target": TARGET, "start": START} | arguments
    with pytest.raises(UserError, match=message):
        search(tiny_llama, **given)


@pytest.mark.parametrize("budget", [{"evaluations": 0}, {"evaluations": 5, "seconds": 0}])
def test_no_budget(budget: dict[str, int]) -> None:
    with pytest.raises(UserError, match="budget"):
        Budget(**budget)


def test_time_ends_a_search(tiny_llama: LanguageModel) -> None:
    settings = Settings(Budget(evaluations=10**9, seconds=0.5))
    trace = search(tiny_llama, "descent", TARGET, START, settings).trace
    assert 0.5 <= trace["seconds"].iloc[-1] < 20
