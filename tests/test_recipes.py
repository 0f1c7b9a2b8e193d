"""The recipes of docs/architecture.md work as they are written.

The page's blocks are read, applied to a copy of the project, and what comes after *Try it* is run
there on a tiny model, all in one process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from counterpoint.errors import UserError
from counterpoint.models.architecture_support import discover
from tests.helpers import small_study, synthetic
from tests.helpers.tiny_tokenizers import make_tokenizer

PAGE = small_study.ROOT / "docs" / "architecture.md"

BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^(?P<what>New file|In) `(?P<path>[^`]+)`:$|^(?P<try>Try it:)$", re.MULTILINE)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

STRANGER = '''
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class StrangeAttention(nn.Module):
    """Plain attention without positions, whose output projection has a name of its own."""

    def __init__(self, config, layer_idx):
        super().__init__()
        self.num_heads, self.head_dim, self.layer_idx = config.num_attention_heads, 8, layer_idx
        width = self.num_heads * self.head_dim
        self.into = nn.Linear(config.hidden_size, 3 * width, bias=False)
        self.merge_heads = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, **_):
        rows, length, _ = hidden_states.shape
        parts = self.into(hidden_states).view(rows, length, 3, self.num_heads, self.head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        scores = query @ key.transpose(-1, -2) / self.head_dim**0.5
        later = torch.ones(length, key.shape[2], dtype=torch.bool).triu(key.shape[2] - length + 1)
        pattern = scores.masked_fill(later.to(scores.device), -torch.inf).softmax(-1)
        return self.merge_heads((pattern @ value).transpose(1, 2).flatten(2)), pattern


def strange_model(vocabulary):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config).eval()
    for number, block in enumerate(model.model.layers):
        block.self_attn = StrangeAttention(config, number)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
    return model
'''

DRIVER = """
import contextlib, io, json, traceback
from pathlib import Path

import pandas as pd
from transformers import AutoTokenizer

from stranger import strange_model

pd.set_option("display.width", 300, "display.max_columns", 20)
tokenizer = AutoTokenizer.from_pretrained("tiny")
said = {}
for name, text in json.loads(Path("blocks.json").read_text()).items():
    out = io.StringIO()
    given = {"__name__": name, "tokenizer": tokenizer, "hf_model": strange_model(len(tokenizer))}
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(text, name, "exec"), given)
        said[name] = [True, out.getvalue()]
    except BaseException:
        said[name] = [False, traceback.format_exc()]
Path("said.json").write_text(json.dumps(said))
"""

REGISTERED = """
import json
from pathlib import Path

import pandas as pd

from counterpoint import report
from counterpoint.figures import curve_figures, study_figures

folder = Path("results/ioi")
results = report.load_results("ioi", folder, {"statistics": {}, "metric": "logit_difference"})
figures = study_figures.draw_figures(
    results.heads,
    results.baseline,
    curve_figures.read_curves(folder / "curves.safetensors", ("noising", "denoising")),
    pd.read_csv(folder / "correlations.csv"),
    pd.read_csv(folder / "stability.csv"),
    floor=1e-4,
)
page = report.heat_maps(results)
print(json.dumps([sorted(figures), sorted(study_figures.FIGURES), str(page)]))
"""


@dataclass
class Recipe:
    """New files, edits and what shows the result, as a section of the page has them."""

    files: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    trial: str = ""


def recipes() -> dict[str, Recipe]:
    """Every recipe of the page by its heading."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## Where to add\n")[2]
    found = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        recipe, place = Recipe(), None
        marks = sorted([*PLACE.finditer(body), *BLOCK.finditer(body)], key=re.Match.start)
        for mark in marks:
            if mark.re is PLACE:
                place = mark
            elif place is None:
                continue
            elif place["try"]:
                recipe.trial, place = mark["text"], None
            elif place["what"] == "New file":
                recipe.files[place["path"]], place = mark["text"], None
            else:
                assert mark["kind"] == "diff", f"{heading}: an edit is shown as a diff"
                recipe.edits.append((place["path"], mark["text"]))
        found[heading] = recipe
    return found


def apply(recipe: Recipe, folder: Path) -> None:
    for name, text in recipe.files.items():
        assert not (folder / name).exists(), name
        (folder / name).write_text(text, encoding="utf-8")
    for name, diff in recipe.edits:
        lines = [(line[:1], line[1:]) for line in diff.splitlines()]
        assert {sign for sign, _ in lines} <= {" ", "+", "-", ""}, diff
        before = "".join(f"{line}\n" for sign, line in lines if sign != "+")
        after = "".join(f"{line}\n" for sign, line in lines if sign != "-")
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has {text.count(before)} times:\n{before}"
        (folder / name).write_text(text.replace(before, after), encoding="utf-8")


RECIPES = recipes()


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        # The copy, and not an installed package.
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with every recipe followed, a tiny model and pairs."""
    folder = small_study.project_copy(tmp_path_factory.mktemp("recipes") / "project")
    for name in ("config.schema.yaml", "pyproject.toml"):
        (folder / name).write_bytes((small_study.ROOT / name).read_bytes())
    for recipe in RECIPES.values():
        apply(recipe, folder)
    small_study.write_pairs(folder / "small.csv")
    synthetic.write_study(folder / "results" / "ioi")
    (folder / "stranger.py").write_text(STRANGER, encoding="utf-8")
    words = [
        word
        for pair in small_study.PAIRS
        for prompt in pair
        for word in re.findall(r" ?\S+", prompt)
    ]
    days = [f" {day}" for day in DAYS]
    tokenizer = make_tokenizer([*days, *words, *small_study.ANSWERS])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def said(copy: Path) -> dict[str, Any]:
    """For each recipe whether its trial ran, and what it printed or raised."""
    (copy / "blocks.json").write_text(
        json.dumps(
            {
                name: recipe.trial.replace("smollm2-135m-instruct", "./tiny").replace(
                    "resources/pairs/ioi.default.csv", "small.csv"
                )
                for name, recipe in RECIPES.items()
            }
        ),
        encoding="utf-8",
    )
    (copy / "driver.py").write_text(DRIVER, encoding="utf-8")
    run(copy, "driver.py")
    return json.loads((copy / "said.json").read_text(encoding="utf-8"))


def test_the_page_has_the_recipes_that_contributors_are_promised() -> None:
    promised = ["A measure", "A task", "A method of search", "A figure", "An architecture"]
    assert list(RECIPES) == promised
    assert all(recipe.trial and (recipe.files or recipe.edits) for recipe in RECIPES.values())


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_trial_of_a_recipe_runs(said: dict[str, Any], name: str) -> None:
    ran, text = said[name]
    assert ran, text


def test_a_measure_becomes_a_column(said: dict[str, Any]) -> None:
    _, text = said["A measure"]
    assert "slope_deviation" in text and len(text.splitlines()) == 6


def test_a_task_makes_pairs(said: dict[str, Any]) -> None:
    _, text = said["A task"]
    assert len(text.splitlines()) == 5 and any(day in text for day in DAYS)


def test_a_method_of_search_finds_pairs(said: dict[str, Any]) -> None:
    _, text = said["A method of search"]
    assert "ld_change" in text and len(text.splitlines()) > 1


def test_a_method_of_search_may_stand_in_a_configuration(copy: Path) -> None:
    schema = (copy / "config.schema.yaml").read_text(encoding="utf-8")
    assert "neighbour_swaps" in schema
    colours = run(
        copy, "-c", "from counterpoint.figures.theme import METHOD_COLOURS as c; print(*c)"
    )
    assert "neighbour_swaps" in colours


def test_a_figure_is_drawn_and_stands_on_the_page(said: dict[str, Any], copy: Path) -> None:
    assert (copy / "monotonicity.png").stat().st_size > 1000
    drawn, listed, page = json.loads(run(copy, "-c", REGISTERED))
    assert drawn == listed and "monotonicity_map" in drawn
    assert "Monotonicity" in page
    rules = (copy / "rules" / "common.smk").read_text(encoding="utf-8")
    outputs = re.search(r"^FIGURES = (\{.*?^\})", rules, re.MULTILINE | re.DOTALL)
    assert outputs is not None
    names = list(eval(outputs[1]))
    assert sorted(names) == drawn
    assert all((copy / "reports" / "captions" / f"{name}.rst").exists() for name in names)


def test_an_architecture_is_measured_that_was_refused(said: dict[str, Any]) -> None:
    space: dict[str, Any] = {}
    exec(STRANGER, space)
    with pytest.raises(UserError, match="output projection"):
        discover(space["strange_model"](50))
    _, text = said["An architecture"]
    assert "ap" in text
