"""Pair sets: what each generator promises, in tokenizers of several kinds; the shipped files."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.pairs.buckets import buckets
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import COLUMNS, parse_answers, read_pairs
from counterpoint.pairs.sets import (
    capital_country,
    gendered_pronoun,
    greater_than,
    ioi,
    subject_verb_agreement,
)
from counterpoint.pairs.sets.first_names import FEMALE, MALE
from counterpoint.pairs.sets.pair_sets import (
    PAIR_SETS,
    generate_pair_set,
    regenerate,
    write_pair_set,
)
from tests.helpers.default_model import ROOT, default_model
from tests.helpers.tiny_tokenizers import Style, make_tokenizer

__all__ = ["default_model"]

RESOURCES = ROOT / "resources" / "pairs"
SETTINGS = yaml.safe_load((RESOURCES / "settings.yaml").read_text(encoding="utf-8"))["sets"]
NAMES = sorted(PAIR_SETS)
NUMBERS = ("singular", "plural")
STYLES: tuple[Style, ...] = ("bytes, single digits", "bytes", "sentencepiece")

POSSIBLE = [
    (name, style)
    for name in NAMES
    for style in STYLES
    if (name, style) != ("greater-than", "sentencepiece")
]
WORDS = [
    *FEMALE,
    *MALE,
    *("she", "he", "her", "his"),
    *(form for verb in subject_verb_agreement.VERBS for form in verb),
    *(form for noun in subject_verb_agreement.PEOPLE for form in noun),
    *(form for noun in subject_verb_agreement.THINGS for form in noun),
    *("France", "Italy", "Spain", "Peru", "Chile", "Kenya", "Jamaica"),
    *("Paris", "Rome", "Madrid", "Lima", "Santiago", "Nairobi", "Vienna"),
]
"""One-token words of the tiny tokenizers; of the facts' words only some, as in real ones."""


@cache
def tokenizer_of(style: Style) -> PreTrainedTokenizerFast:
    centuries = [f" {century}" for century in greater_than.CENTURIES if century != "15"]
    numbers = [f"{number:02d}" for number in range(100)] if style == "bytes" else []
    return make_tokenizer([*(f" {word}" for word in WORDS), *centuries, *numbers], style=style)


@cache
def generated(name: str, style: Style, n: int = 60, seed: int = 0) -> pd.DataFrame:
    return generate_pair_set(name, tokenizer_of(style), n, seed)


def validated(table: pd.DataFrame, tokenizer: PreTrainedTokenizerFast) -> pd.DataFrame:
    """The table's pairs; UserError when any is not valid."""
    rows = table.assign(row=range(1, len(table) + 1), malformed="")
    valid, dropped = validate_pairs(rows, tokenizer, on_bad_pair="error", max_length=1024)
    assert len(dropped) == 0
    return valid


# ---------------------------------------------------------------------------------------- all sets


@pytest.mark.parametrize(("name", "style"), POSSIBLE)
def test_every_pair_is_valid(name: str, style: Style) -> None:
    table = generated(name, style)
    assert list(table.columns[:4]) == list(COLUMNS)
    assert "template" in table.columns
    assert len(validated(table, tokenizer_of(style))) == 60
    assert not table.duplicated(list(COLUMNS)).any()
    assert all(isinstance(value, str) for value in table.to_numpy().ravel())


@pytest.mark.parametrize("name", NAMES)
def test_generation_depends_on_the_seed_alone(name: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of("bytes, single digits")
    table = generated(name, "bytes, single digits")
    pd.testing.assert_frame_equal(table, generate_pair_set(name, tokenizer, 60, 0))
    assert not table.equals(generate_pair_set(name, tokenizer, 60, 1))
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path in files:
        write_pair_set(name, tokenizer, path, 12, 5)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(read_pairs(files[0])) == 12


@given(st.sampled_from(POSSIBLE), st.integers(1, 40), st.integers(0, 2**40))
@settings(max_examples=25, deadline=None)
def test_any_number_and_seed(which: tuple[str, Style], n: int, seed: int) -> None:
    name, style = which
    table = generate_pair_set(name, tokenizer_of(style), n, seed)
    assert len(validated(table, tokenizer_of(style))) == n


@pytest.mark.parametrize("name", NAMES)
def test_templates_take_turns(name: str) -> None:
    table = generated(name, "bytes, single digits")
    counts = Counter(table["template"])
    assert len(counts) >= 5
    assert max(counts.values()) - min(counts.values()) <= 6
    assert table["template"].head(8).nunique() >= 3  # a study of few pairs sees several


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_without_the_words_is_refused(name: str) -> None:
    no_words = make_tokenizer([" 14", " 15", " 16", " 17", " 18", " 19", "001"], style="bytes")
    if name == "greater-than":  # any tokenizer that splits single digits would do
        no_words = make_tokenizer([f" {year}" for year in range(1400, 2000)], style="bytes")
    with pytest.raises(UserError, match=name):
        generate_pair_set(name, no_words, 10, 0)


def test_more_pairs_than_there_are() -> None:
    words = [f" {word}" for word in ("France", "Italy", "Spain", "Peru", "Rome", "Lima")]
    tokenizer = make_tokenizer([*words, " Paris", " Madrid"])
    with pytest.raises(UserError, match="Ask for fewer"):
        generate_pair_set("capital-country", tokenizer, 1000, 0)


def test_an_unknown_set_and_an_impossible_number() -> None:
    tokenizer = tokenizer_of("bytes")
    with pytest.raises(UserError, match=r"no pair set 'IOI'; expected one of ioi, greater-than"):
        generate_pair_set("IOI", tokenizer, 10, 0)
    with pytest.raises(UserError, match="at least 1"):
        generate_pair_set("ioi", tokenizer, 0, 0)


# --------------------------------------------------------------------------------- what pairs mean


@pytest.mark.parametrize("style", STYLES)
def test_ioi(style: Style) -> None:
    table = generated("ioi", style, 96)
    cells = Counter(zip(table["template"], table["order"], table["corruption"], strict=True))
    assert len(cells) == len(ioi.TEMPLATES) * 2 * 3
    assert set(cells.values()) == {2}
    people = re.compile(r"\b(" + "|".join((*FEMALE, *MALE)) + r")\b")
    for row in table.to_dict("records"):
        indirect, subject = row["correct"].strip(), row["incorrect"].strip()
        order = [indirect, subject] if row["order"] == "ABBA" else [subject, indirect]
        assert people.findall(row["clean"]) == [*order, subject]
        found = people.findall(row["corrupted"])
        match row["corruption"]:
            case "swapped_subject":
                assert found == [*order, indirect]
            case "other_name":
                assert found[:2] == order
                assert found[2] not in order
            case _:
                assert len(set(found)) == 3
                assert not set(found) & set(order)
        assert people.sub("_", row["clean"]) == people.sub("_", row["corrupted"])


@pytest.mark.parametrize("style", STYLES[:2])
def test_greater_than(style: Style) -> None:
    table = generated("greater-than", style)
    for row in table.to_dict("records"):
        century, start = row["century"], int(row["start"])
        assert row["answers"] == ("numbers" if style == "bytes" else "digits")
        first, last = re.findall(r"\d+", row["clean"])
        assert first == f"{century}{start}"
        assert row["clean"].endswith(last)
        assert last == century
        assert row["corrupted"] == row["clean"].replace(first, f"{century}01")
        above = [int(answer) for answer in parse_answers(row["correct"])]
        below = [int(answer) for answer in parse_answers(row["incorrect"])]
        if row["answers"] == "digits":
            assert above == list(range(start // 10 + 1, 10))
            assert below == list(range(start // 10))
        elif century != "15":
            assert above == list(range(start + 1, 100))
            assert below == list(range(2, start))
        else:  # this tokenizer splits "15" so that not every number after it is one token
            assert 0 < len(above) < 99 - start
            assert set(above) < set(range(start + 1, 100))
            assert set(below) <= set(range(2, start))


def test_digits_that_no_answer_can_stand_for() -> None:
    """Where the tokenizer puts a space before a text by itself, "3" alone is two tokens."""
    with pytest.raises(UserError, match="Choose another set"):
        generated("greater-than", "sentencepiece")


def test_capital_country() -> None:
    table = generated("capital-country", "bytes")
    capitals = capital_country.FACTS
    countries = {capital: country for country, capital in capitals.items()}
    assert len(countries) == len(capitals)
    named = re.compile("|".join([*capitals, *countries]))
    answers = {**capitals, **countries}
    assert set(table["asked"]) == {"capital", "country"}
    for row in table.to_dict("records"):
        for prompt, answer in ((row["clean"], "correct"), (row["corrupted"], "incorrect")):
            (name,) = named.findall(prompt)
            assert row[answer] == f" {answers[name]}"
            assert (row["asked"] == "capital") == (name in capitals)


def test_gendered_pronoun() -> None:
    assert not set(FEMALE) & set(MALE)
    table = generated("gendered-pronoun", "bytes", 56)
    cells = Counter(zip(table["template"], table["gender"], strict=True))
    assert set(cells.values()) == {4}
    assert len(cells) == 2 * len(gendered_pronoun.TEMPLATES)
    for row in table.to_dict("records"):
        both = gendered_pronoun.PRONOUNS[row["pronoun"]]
        for prompt, answer in ((row["clean"], "correct"), (row["corrupted"], "incorrect")):
            female = bool(set(re.findall(r"\w+", prompt)) & set(FEMALE))
            male = bool(set(re.findall(r"\w+", prompt)) & set(MALE))
            assert female != male
            assert row[answer].strip() == both[0 if female else 1]
        assert (row["gender"] == "female") == (row["correct"].strip() == both[0])


def test_subject_verb_agreement() -> None:
    table = generated("subject-verb-agreement", "bytes", 96)
    nouns = (*subject_verb_agreement.PEOPLE, *subject_verb_agreement.THINGS)
    number = {form: kind for noun in nouns for form, kind in zip(noun, NUMBERS, strict=True)}
    forms = re.compile(r"\b(" + "|".join(number) + r")\b")
    verbs = dict(subject_verb_agreement.VERBS)
    for row in table.to_dict("records"):
        clean, corrupted = forms.findall(row["clean"]), forms.findall(row["corrupted"])
        assert number[clean[0]] == row["number"] != number[corrupted[0]]
        assert {clean[0], corrupted[0]} in [set(noun) for noun in nouns]
        assert clean[1:] == corrupted[1:]
        assert [number[noun] for noun in clean[1:]] == (
            [] if row["attractor"] == "none" else [row["attractor"]]
        )
        singular = row["correct" if row["number"] == "singular" else "incorrect"].strip()
        plural = row["incorrect" if row["number"] == "singular" else "correct"].strip()
        assert (row["verb"], verbs[row["verb"]]) == (singular, plural)
    assert set(table["attractor"]) == {"singular", "plural", "none"}


# ------------------------------------------------------------------------------------ shipped files


def test_every_set_is_shipped_with_settings_and_a_card() -> None:
    assert set(SETTINGS) == set(PAIR_SETS)
    shipped = {path.stem for path in RESOURCES.glob("*.csv")}
    assert shipped == {*PAIR_SETS, "ioi.default"}
    for name in shipped:
        card = (RESOURCES / f"{name}.md").read_text(encoding="utf-8")
        for word in ("Fields", "SmolLM2-135M-Instruct", "Limits", "Licence"):
            assert word in card
        own = set(read_pairs(RESOURCES / f"{name}.csv").columns) - {"row", "malformed"}
        assert all(f"`{column}`" in card for column in own)
    for name, entry in SETTINGS.items():
        assert len(read_pairs(RESOURCES / f"{name}.csv")) == entry["pairs"] >= 100
        assert f"{entry['pairs']} pairs" in (RESOURCES / f"{name}.md").read_text(encoding="utf-8")


def test_the_default_pairs_begin_with_the_original_one() -> None:
    table = read_pairs(RESOURCES / "ioi.default.csv")
    clean = "After John and Mary went to the store, Mary gave a bottle of milk to"
    assert table.loc[0, list(COLUMNS)].tolist() == [
        clean,
        clean.replace("Mary gave", "John gave"),
        " John",
        " Mary",
    ]
    assert len(table) == 8


def test_settings_that_do_not_say_enough(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    for text in ("{}\n", "sets:\n", "sets: {ioi: 3}\n", "sets: {ioi: {pairs: 3}}\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="does not say how to make the pair set 'ioi'"):
            regenerate("ioi", tokenizer_of("bytes"), tmp_path / "ioi.csv", path)
    path.write_text("sets:\n  ioi: {pairs: 3, seed: 0}\n  ioi: {pairs: 4, seed: 0}\n")
    with pytest.raises(UserError, match=r"settings\.yaml: the key ioi stands twice, in lines 2"):
        regenerate("ioi", tokenizer_of("bytes"), tmp_path / "ioi.csv", path)
    with pytest.raises(UserError, match="no settings"):
        regenerate("ioi", tokenizer_of("bytes"), tmp_path / "ioi.csv", tmp_path / "none.yaml")
    assert not (tmp_path / "ioi.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_is_what_its_generator_writes(
    name: str, default_model: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(default_model)
    regenerate(name, tokenizer, tmp_path / "again.csv", RESOURCES / "settings.yaml")
    assert (tmp_path / "again.csv").read_bytes() == (RESOURCES / f"{name}.csv").read_bytes()
    valid, _ = validate_pairs(read_pairs(RESOURCES / f"{name}.csv"), tokenizer, max_length=8192)
    assert len(valid) >= 100


@torch.no_grad()
def logit_differences(model: torch.nn.Module, pairs: pd.DataFrame, prompt: str) -> pd.Series:
    """Logit difference of each pair on its clean or its corrupted prompt."""
    found = {}
    for bucket in buckets(pairs):
        logits = model(torch.tensor(getattr(bucket, prompt)), logits_to_keep=1).logits[:, -1]
        answers = zip(bucket.pairs, logits, bucket.correct, bucket.incorrect, strict=True)
        for pair, row, correct, incorrect in answers:
            found[pair] = (row[correct].mean() - row[incorrect].mean()).item()
    return pd.Series(found).sort_index()


@pytest.fixture(scope="module")
def answering(default_model: Path) -> tuple[torch.nn.Module, PreTrainedTokenizerFast]:
    model = AutoModelForCausalLM.from_pretrained(default_model).eval()
    return model, AutoTokenizer.from_pretrained(default_model)


@pytest.mark.slow
def test_the_default_pairs_have_the_logit_differences_on_their_card(
    answering: tuple[torch.nn.Module, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = answering
    valid, _ = validate_pairs(read_pairs(RESOURCES / "ioi.default.csv"), tokenizer)
    clean, corrupted = (logit_differences(model, valid, name) for name in ("clean", "corrupted"))
    assert (clean[0], corrupted[0]) == pytest.approx((3.2588, -4.4071), abs=1e-3)
    assert (clean > 0).all()
    assert (corrupted < 0).all()
    card = (RESOURCES / "ioi.default.md").read_text(encoding="utf-8").replace("−", "-")
    stated = re.findall(r"\| (\d) \w+ \| ([-\d.]+) \| ([-\d.]+) \|", card)
    assert [int(row[0]) for row in stated] == list(valid["pair"])
    assert [float(row[1]) for row in stated] == pytest.approx(list(clean), abs=1e-3)
    assert [float(row[2]) for row in stated] == pytest.approx(list(corrupted), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_default_models_accuracy_is_that_on_the_card(
    name: str, answering: tuple[torch.nn.Module, PreTrainedTokenizerFast]
) -> None:
    model, tokenizer = answering
    valid, _ = validate_pairs(read_pairs(RESOURCES / f"{name}.csv"), tokenizer)
    card = (RESOURCES / f"{name}.md").read_text(encoding="utf-8")
    stated = re.search(r"Of the \d+ pairs, (\d+)", card)
    if stated is None:  # every pair is right: a part of them shows it and spares time
        assert f"All {len(valid)} pairs (100 %)" in card
        assert (logit_differences(model, valid.head(24), "clean") > 0).all()
    else:
        assert (logit_differences(model, valid, "clean") > 0).sum() == int(stated[1])
