"""GPT-2 small on indirect object identification: the original study's numbers, the known circuit.

The weights cannot be had everywhere, so these tests run where they are found: in the folder that
the variable COUNTERPOINT_GPT2 names, in resources/models/gpt2 as a run of the workflow leaves it,
or in the Hugging Face hub's cache. Nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from counterpoint.engine.activation_caching import cache_activations
from counterpoint.engine.activations import Direction
from counterpoint.engine.head_outputs import every_unit
from counterpoint.engine.suffix import SuffixEngine
from counterpoint.measures.curve_measures import OutputCurves
from counterpoint.measures.curves import output_curves
from counterpoint.measures.patching import activation_patching
from counterpoint.measures.tables.edge_table import score_edges
from counterpoint.measures.tables.shards import Measurement, token_pairs
from counterpoint.models.load import LanguageModel, load_language_model
from counterpoint.pairs.buckets import buckets
from counterpoint.pairs.pair_checks import validate_pairs
from counterpoint.pairs.pair_files import read_pairs
from tests.helpers.pair_factory import random_pairs
from tests.helpers.path_sums import first_heads, path_sums
from tests.helpers.tiny_models import make_tiny_model

ROOT = Path(__file__).parents[2]
VARIABLE = "COUNTERPOINT_GPT2"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")

OUTPUT_RANGES = {(11, 10): 1.508988, (9, 6): 0.117685, (1, 7): 0.010033}
GRADIENT_RANGES = {(11, 10): 0.6172, (9, 6): 12.4272, (1, 7): 0.0426}
RANGE_WITH_SIGNED_AP = 0.3742

ROLES = {
    "name mover": [(9, 9), (10, 0), (9, 6)],
    "negative name mover": [(10, 7), (11, 10)],
    "S-inhibition": [(7, 3), (7, 9), (8, 6), (8, 10)],
    "induction": [(5, 5), (6, 9)],
    "duplicate token": [(0, 1), (3, 0)],
}
KNOWN = [head for heads in ROLES.values() for head in heads]


def find_weights() -> Path | str:
    """The folder with the weights, or why there is none."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        missing = [name for name in NEEDED if not (Path(named) / name).is_file()]
        return f"{VARIABLE}: {named} lacks {', '.join(missing)}" if missing else Path(named)
    candidates = [ROOT / "resources" / "models" / "gpt2", *_cached()]
    for folder in candidates:
        if all((folder / name).is_file() for name in NEEDED):
            return folder
    return (
        f"GPT-2 small is not at hand: {VARIABLE} is not set, resources/models/gpt2 does not exist, "
        "and the hub's cache does not hold it"
    )


def _cached() -> list[Path]:
    """Snapshots in the hub's cache, of the revision that the configuration names first."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    entry = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["models"]["gpt2"]
    found = []
    for repository in (entry["repository"], "gpt2"):
        for revision in (entry["revision"], None):
            try:
                folder = snapshot_download(repository, revision=revision, local_files_only=True)
            except LocalEntryNotFoundError:
                continue
            found.append(Path(folder))
    return found


@pytest.fixture(scope="module")
def gpt2() -> LanguageModel:
    found = find_weights()
    if isinstance(found, str):
        pytest.skip(found)
    return load_language_model(found)


@pytest.fixture(scope="module")
def engines(gpt2: LanguageModel) -> list[SuffixEngine]:
    """An engine for each bucket of the default pairs, the original pair's first."""
    table = read_pairs(ROOT / "resources" / "pairs" / "ioi.default.csv")
    valid, _ = validate_pairs(table, gpt2.tokenizer, on_bad_pair="drop")
    assert valid["row"].iloc[0] == 1
    made = [
        SuffixEngine(gpt2, cache_activations(gpt2, token_pairs(bucket)))
        for bucket in sorted(buckets(valid), key=lambda bucket: 0 not in bucket.pairs)
    ]
    assert made[0].activations.pairs.number[0] == 0
    return made


@pytest.fixture(scope="module")
def curves(gpt2: LanguageModel, engines: list[SuffixEngine]) -> OutputCurves:
    """The curves of all 144 heads on the original pair, at the original 50 nodes."""
    units = every_unit(gpt2, 1)
    return output_curves(engines[0], "noising", units, nodes="gauss-legendre-50")


def place(head: tuple[int, int]) -> int:
    return 12 * head[0] + head[1]


def test_logit_differences(engines: list[SuffixEngine]) -> None:
    clean, corrupted = (float(engines[0].unpatched(name)[0]) for name in ("clean", "corrupted"))
    assert clean == pytest.approx(4.276, abs=1e-3)
    assert corrupted == pytest.approx(-2.738, abs=1e-3)


@pytest.mark.parametrize(("head", "expected"), OUTPUT_RANGES.items())
def test_output_ranges(curves: OutputCurves, head: tuple[int, int], expected: float) -> None:
    assert curves.output_range[place(head)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("head", "expected"), GRADIENT_RANGES.items())
def test_gradient_ranges(curves: OutputCurves, head: tuple[int, int], expected: float) -> None:
    assert curves.gradient_range[place(head)] == pytest.approx(expected, rel=5e-3)


def test_the_range_goes_with_the_size_of_ap_and_little_with_its_sign(curves: OutputCurves) -> None:
    signed = np.corrcoef(curves.output_range, curves.ap)[0, 1]
    assert signed == pytest.approx(RANGE_WITH_SIGNED_AP, abs=2e-3)
    assert np.corrcoef(curves.output_range, np.abs(curves.ap))[0, 1] > 0.95


def test_own_path_gradients_integrate_to_ap(curves: OutputCurves) -> None:
    assert curves.ig_own == pytest.approx(curves.ap, abs=1e-4)


@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_the_known_heads_rank_on_top(engines: list[SuffixEngine], direction: Direction) -> None:
    """Of 144 heads, 15 in random order would hold one or two of the 13 known ones."""
    sizes = [
        np.abs(activation_patching(engine, direction)).reshape(12, -1, 12).transpose(1, 0, 2)
        for engine in engines
    ]
    mean = np.concatenate(sizes).mean(axis=0).reshape(-1)
    first = [divmod(int(head), 12) for head in np.argsort(-mean)]
    assert len(set(first[:15]) & set(KNOWN)) >= 8
    assert len(set(first[:5]) & set(KNOWN)) >= 4
    for role in ("S-inhibition", "name mover", "negative name mover"):
        assert set(ROLES[role]) & set(first[:15]), f"no {role} head among the first 15"


# Wang et al. 2022 (arXiv 2211.00593) found the circuit by path patching: the name movers' queries
# hear the S-inhibition heads (their figure 4), whose values hear duplicate-token and induction
# heads (figure 5). They average over prompts whose names are all others, and patch the receivers
# together; here the corrupted prompt turns the two names about at their second mention, and the
# effects through single receivers are added up. So nothing is asked for but what either must show:
# a clean answer that suffers, and the published heads among the first, with room for others.


def test_s_inhibition_heads_act_through_the_name_movers_queries(
    engines: list[SuffixEngine],
) -> None:
    sums = path_sums(engines, "noising", ROLES["name mover"], ["query", "key", "value"])
    heads = ROLES["S-inhibition"]
    assert len(set(first_heads(sums["query"], 6)) & set(heads)) >= 3
    together = sums.loc[heads].sum()
    assert together["query"] < 0
    assert together["query"] < together["key"] and together["query"] < together["value"]
    back = path_sums(engines, "denoising", ROLES["name mover"], ["query"])
    assert back.loc[heads, "query"].sum() > 0


def test_duplicate_token_and_induction_heads_act_on_s_inhibition_values(
    engines: list[SuffixEngine],
) -> None:
    sums = path_sums(engines, "noising", ROLES["S-inhibition"], ["value"])["value"]
    heads = [*ROLES["duplicate token"], *ROLES["induction"]]
    # Figure 5 has two more induction heads, 5.8 and 5.9, and the duplicate-token head 0.10.
    assert len(set(first_heads(sums, 8)) & set(heads)) >= 2
    assert sums.loc[heads].sum() < 0
    back = path_sums(engines, "denoising", ROLES["S-inhibition"], ["value"])["value"]
    assert back.loc[heads].sum() > 0


def test_sums_of_paths_are_those_of_the_table_of_edges() -> None:
    """The sums that the two tests above read, on a tiny model, which is always at hand."""
    model = make_tiny_model("gpt2")
    engines = [
        SuffixEngine(model, cache_activations(model, random_pairs(seed, n_pairs=n_pairs)))
        for seed, n_pairs in ((51, 2), (52, 1))
    ]
    receivers = [(1, 2), (2, 0), (2, 3)]
    sums = path_sums(engines, "noising", receivers, ["query", "value"])
    assert sums.index.tolist() == [(layer, head) for layer in range(3) for head in range(4)]
    tables = [
        score_edges(
            model,
            {f"0/{name}": tensor for name, tensor in engine.activations.tensors().items()},
            Measurement(),
            receivers,
            first_order=False,
        )
        for engine in engines
    ]
    rows = pd.concat(tables)
    rows = rows[(rows["direction"] == "noising") & (rows["sender_head"] >= 0)]
    expected = rows.pivot_table(
        index=["sender_layer", "sender_head"], columns="role", values="effect", aggfunc="sum"
    )
    for role in ("query", "value"):
        below = sums.loc[sums.index.get_level_values(0) < 2, role]
        assert below.to_numpy() == pytest.approx(expected[role].loc[:1].to_numpy() / 3, abs=1e-6)
    assert (sums.loc[2] == 0).all(axis=None) and sums.loc[1].abs().max(axis=None) > 1e-3
    first = first_heads(sums["query"], 3)
    assert [sums.loc[head, "query"] for head in first] == sorted(sums["query"])[:3]
