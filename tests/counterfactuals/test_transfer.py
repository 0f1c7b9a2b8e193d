"""Transfer of an edit to fresh contexts, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoint.counterfactuals.evaluation import edit_transfer, heads_ahead
from counterpoint.counterfactuals.evaluation.all_heads import (
    estimated_effects,
    gradients_of,
    kept_values,
)
from counterpoint.counterfactuals.evaluation.edit_transfer import (
    COLUMNS,
    estimated_transfer,
    first_places,
    transfer_columns,
)
from counterpoint.counterfactuals.evaluation.fresh_contexts import (
    NEAR,
    SAMPLED,
    Context,
    draw_samples,
    fresh_contexts,
    tail_of,
)
from counterpoint.counterfactuals.head_ranks import rank_of
from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.models.load import LanguageModel
from tests.helpers.pair_factory import random_pairs
from tests.helpers.reference import PlainReference
from tests.helpers.tiny_models import VOCABULARY, make_tiny_model

BEGIN = 1
WORDS = st.integers(min_value=5, max_value=VOCABULARY - 1)


def _effects(
    model: LanguageModel, clean: list[int], corrupted: list[int], answers: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """AP of every head by the plain reference, and both prompts' likeliest tokens."""
    bridge = model.bridge()
    x, y = torch.tensor(clean), torch.tensor(corrupted)
    likeliest = tuple(int(bridge(one[None])[0, -1].argmax()) for one in (x, y))

    def effects(correct: int, incorrect: int) -> np.ndarray:
        reference = PlainReference(bridge, x, y, lambda logits: logits[correct] - logits[incorrect])
        start = reference.unpatched("clean").item()
        return np.array(
            [
                reference.head(layer, head, 1.0).item() - start
                for layer in range(model.n_layers)
                for head in range(model.n_heads)
            ]
        )

    return np.stack([effects(*answers), effects(*likeliest)]), likeliest


def test_ranks_and_changes_are_those_of_the_reference(tiny_llama: LanguageModel) -> None:
    clean, corrupted = [1, 5, 6, 7, 8, 9, 10], [1, 5, 6, 7, 8, 20, 10]
    samples = draw_samples(tiny_llama, 12, seed=4)
    contexts = fresh_contexts(tiny_llama, samples, clean, corrupted, 4)
    assert len(contexts) == 4
    place, answers = 5, (30, 40)
    found = transfer_columns(tiny_llama, place, answers, contexts, 5)
    ranks, changes, declared, same = [], [], [], 0
    for context in contexts:
        effects, likeliest = _effects(
            tiny_llama, list(context.clean), list(context.corrupted), answers
        )
        equal = likeliest[0] == likeliest[1]
        same += equal
        # Beyond the first five ranks are not told apart.
        ranks.append(0 if equal else min(rank_of(effects[1], place), 6))
        changes.append(0.0 if equal else -effects[1][place])
        declared.append(effects[0])
    assert found["transfer_ranks"] == ranks
    assert found["transfer_ld_changes"] == pytest.approx(changes, abs=1e-5)
    assert found["transfer_contexts"] == 4
    assert found["transfer_first"] == ranks.count(1)
    assert found["transfer_first_five"] == sum(1 <= rank <= 5 for rank in ranks)
    assert found["transfer_same_answer"] == same
    assert found["transfer_ld_change"] == pytest.approx(np.median(changes), abs=1e-5)
    of_declared = [rank_of(effects, place) for effects in declared]
    assert found["transfer_first_declared"] == of_declared.count(1)
    assert found["transfer_first_five_declared"] == sum(rank <= 5 for rank in of_declared)
    assert found["transfer_ld_change_declared"] == pytest.approx(
        np.median([-effects[place] for effects in declared]), abs=1e-5
    )
    assert set(found) == set(COLUMNS)


def test_what_is_expected_elsewhere_is_the_reference_to_first_order(
    tiny_llama: LanguageModel,
) -> None:
    clean, corrupted = [1, 5, 6, 7, 8, 9, 10], [1, 5, 6, 7, 8, 20, 10]
    contexts = fresh_contexts(tiny_llama, draw_samples(tiny_llama, 12, seed=4), clean, corrupted, 4)
    bridge, step, ranks = tiny_llama.bridge(), 1e-2, []
    for context in contexts:
        x, y = torch.tensor(context.clean), torch.tensor(context.corrupted)
        correct, incorrect = (int(bridge(one[None])[0, -1].argmax()) for one in (x, y))
        if correct == incorrect:
            ranks.append(np.full(tiny_llama.n_layers * tiny_llama.n_heads, 99))
            continue
        reference = PlainReference(
            bridge, x, y, lambda logits, a=correct, b=incorrect: logits[a] - logits[b]
        )
        slopes = [
            (reference.head(layer, head, step) - reference.head(layer, head, -step)).item()
            for layer in range(tiny_llama.n_layers)
            for head in range(tiny_llama.n_heads)
        ]
        ranks.append(np.array([rank_of(np.array(slopes), place) for place in range(len(slopes))]))
    for place, own in enumerate(np.stack(ranks, 1)):
        assert estimated_transfer(tiny_llama, place, contexts) == (own <= 5).mean()
    assert estimated_transfer(tiny_llama, 0, []) == 0


def test_one_answer_for_both_prompts_is_no_success(tiny_llama: LanguageModel) -> None:
    bridge = tiny_llama.bridge()
    likeliest = {
        word: int(bridge(torch.tensor([[1, word, 7, 8]]))[0, -1].argmax())
        for word in range(5, VOCABULARY)
    }
    one, other = next(
        (a, b) for a in likeliest for b in likeliest if a < b and likeliest[a] == likeliest[b]
    )
    context = Context((1, one, 7, 8), (1, other, 7, 8), 1.0)
    found = transfer_columns(tiny_llama, 0, (30, 40), [context], 3)
    # All effects on the difference of a logit and itself are 0, which must not make a first place.
    assert found["transfer_ranks"] == [0]
    assert found["transfer_first"] == found["transfer_first_five"] == 0
    assert found["transfer_ld_change"] == 0
    assert first_places(tiny_llama, 0, [context]) == {
        "transfer_contexts": 1,
        "transfer_first": 0,
        "transfer_first_five": 0,
    }


@pytest.mark.parametrize("at_once", [1, 3, 12])
def test_where_a_head_stands_is_seen_from_a_part_of_the_heads(
    tiny_model: LanguageModel, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_ahead, "AT_ONCE", at_once)
    monkeypatch.setattr(edit_transfer, "FIRST_FEW", 2)
    clean, corrupted = [1, 5, 6, 7, 8, 9, 10], [1, 5, 6, 7, 8, 20, 10]
    samples = draw_samples(tiny_model, 12, seed=4)
    contexts = fresh_contexts(tiny_model, samples, clean, corrupted, 3)
    known = [
        _effects(tiny_model, list(context.clean), list(context.corrupted), (30, 40))
        for context in contexts
    ]
    ahead = set()
    for place in range(tiny_model.n_layers * tiny_model.n_heads):
        found = first_places(tiny_model, place, contexts)
        whole = transfer_columns(tiny_model, place, (30, 40), contexts, 5)
        assert found == {name: whole[name] for name in found}
        declared = [rank_of(effects[0], place) for effects, _ in known]
        reread = [0 if a == b else rank_of(effects[1], place) for effects, (a, b) in known]
        assert whole["transfer_ranks"] == [min(rank, 3) for rank in reread]
        assert found["transfer_first"] == reread.count(1)
        assert found["transfer_first_five"] == sum(1 <= rank <= 2 for rank in reread)
        assert whole["transfer_first_declared"] == declared.count(1)
        assert whole["transfer_first_five_declared"] == sum(rank <= 2 for rank in declared)
        ahead.add(whole["transfer_first_five_declared"])
    assert len(ahead) > 1
    assert first_places(tiny_model, 0, [])["transfer_contexts"] == 0


def test_heads_that_cannot_be_ahead_are_not_patched(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, corrupted = [1, 5, 6, 7, 8, 9, 10], [1, 5, 6, 7, 8, 20, 10]
    samples = draw_samples(tiny_llama, 12, seed=4)
    contexts = fresh_contexts(tiny_llama, samples, clean, corrupted, 1)
    effects, likeliest = _effects(
        tiny_llama, list(contexts[0].clean), list(contexts[0].corrupted), (30, 40)
    )
    assert likeliest[0] != likeliest[1]
    order = np.argsort(-np.abs(effects[1])).tolist()
    patched: list[int] = []
    plain = heads_ahead._effects

    def counted(engine: SuffixEngine, *which: torch.Tensor) -> np.ndarray:
        patched.extend(which[1].tolist())
        return plain(engine, *which)

    monkeypatch.setattr(heads_ahead, "_effects", counted)
    monkeypatch.setattr(heads_ahead, "AT_ONCE", 1)
    # All that might be ahead of the first head are patched, the likeliest first.
    assert first_places(tiny_llama, order[0], contexts)["transfer_first"] == 1
    assert len(set(patched)) == len(patched)
    # Of the last one it is certain as soon as five others are seen to do more: after 1, 2 and 4.
    patched.clear()
    assert first_places(tiny_llama, order[-1], contexts)["transfer_first_five"] == 0
    assert patched[0] == order[-1] and len(patched) == 1 + 7
    # Without a screen every head is patched for the first one, with a strict one none.
    for screen, count in ((1e30, len(order)), (1e-30, 1)):
        monkeypatch.setattr(heads_ahead, "SCREEN", screen)
        patched.clear()
        first_places(tiny_llama, order[0], contexts)
        assert len(patched) == count


def test_estimates_are_gradients_on_the_way_times_changes(tiny_model: LanguageModel) -> None:
    pairs = random_pairs(3, first_difference=2)
    engine = SuffixEngine(tiny_model, cache_activations(tiny_model, pairs))
    answers = torch.tensor([[[9, 10], [11, 12]]]).repeat(len(pairs), 1, 1)
    found = heads_ahead.estimated_sizes(engine, answers)
    assert found.shape == (2, len(pairs), tiny_model.n_layers * tiny_model.n_heads)
    for reading, (correct, incorrect) in enumerate([(9, 10), (11, 12)]):
        for number in range(len(pairs)):
            both = torch.stack([pairs.clean[number], pairs.corrupted[number]])
            with torch.no_grad(), kept_values(tiny_model) as z:
                tiny_model.hf(input_ids=both, use_cache=False)
            ends = tiny_model.embedding(both).detach()
            sizes = []
            for point in (0, 0.5, 1):
                way = (ends[0] + point * (ends[1] - ends[0]))[None]
                with torch.enable_grad(), kept_values(tiny_model, differentiable=True) as own:
                    read = tiny_model.hf(inputs_embeds=way, use_cache=False).logits[0, -1]
                    slopes = gradients_of(read[correct] - read[incorrect], own)
                apart = [one[1:] - one[:1] for one in z]
                sizes.append(estimated_effects(tiny_model.n_heads, slopes, apart)[0].abs())
            expected = torch.stack(sizes).amax(0).detach().double().numpy()
            assert found[reading, number] == pytest.approx(expected, abs=1e-5, rel=1e-3)


def test_contexts_are_fresh_whole_and_likeliest_first(tiny_llama: LanguageModel) -> None:
    clean, corrupted = [1, 5, 6, 7, 8, 9, 10], [1, 5, 6, 7, 8, 20, 10]
    samples = draw_samples(tiny_llama, 20, seed=0)
    contexts = fresh_contexts(tiny_llama, samples, clean, corrupted, 6)
    drawn = {tuple(row) for row in samples.tokens.tolist()}
    assert len({context.clean for context in contexts}) == len(contexts) == 6
    losses = [context.loss for context in contexts]
    assert losses == sorted(losses)
    for context in contexts:
        x, y = list(context.clean), list(context.corrupted)
        assert x[-5:] == clean[-5:] and y[-5:] == corrupted[-5:]
        assert x[:-5] == y[:-5] and x[:-5] != clean[:2]
        assert any(row[: len(x) - 5] == tuple(x[:-5]) for row in drawn)
        assert tiny_llama.encode(tiny_llama.decode(x)) == x


def test_samples_differ_by_seed_and_hold_no_special_token(tiny_llama: LanguageModel) -> None:
    first, again, other = (draw_samples(tiny_llama, 6, seed) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)
    assert first.tokens.shape == (6, 2 + SAMPLED)
    assert not set(tiny_llama.tokenizer.all_special_ids) & set(
        first.tokens[:, 1:].flatten().tolist()
    )
    logits = tiny_llama.hf(first.tokens).logits
    logits[..., tiny_llama.tokenizer.all_special_ids] = -torch.inf
    expected = logits.log_softmax(-1)
    assert torch.allclose(first.expected.float().clamp_min(-50), expected.clamp_min(-50), atol=0.05)


def test_a_pair_too_long_for_the_model_has_no_context() -> None:
    model = make_tiny_model("gpt2")
    clean = [1, *[5, 6] * 31]
    corrupted = [1, 7, *clean[2:]]
    samples = draw_samples(model, 3, seed=0)
    contexts = fresh_contexts(model, samples, clean, corrupted, 2)
    assert contexts == []
    found = transfer_columns(model, 0, (8, 9), contexts, len(clean))
    assert found["transfer_contexts"] == 0 and np.isnan(found["transfer_ld_change"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    words=st.lists(WORDS, min_size=2, max_size=14),
    changes=st.dictionaries(st.integers(0, 13), WORDS, min_size=1, max_size=3),
)
def test_a_tail_keeps_every_change_at_its_distance_from_the_end(
    tiny_llama: LanguageModel, words: list[int], changes: dict[int, int]
) -> None:
    clean, corrupted = [1, *words], [1, *words]
    for position, word in changes.items():
        if position < len(words):
            corrupted[1 + position] = word
    if clean == corrupted:
        return
    x, y = tail_of(tiny_llama, clean, corrupted)
    changed = [
        i - len(clean) for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)) if a != b
    ]
    assert [i - len(x) for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b] == changed
    assert x == clean[-len(x) :] and y == corrupted[-len(y) :]
    assert len(x) == min(len(clean) - BEGIN, NEAR - changed[0])
