"""A study of seconds: a copy of the project, a tiny random model with a tokenizer, a few pairs."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "rules", "scripts", "counterpoint", "reports", "profiles", "envs")

PAIRS = (
    (
        "When John and Mary met , Mary gave a book to",
        "When John and Mary met , John gave a book to",
    ),
    (
        "When John and Mary left , Mary gave a cup to",
        "When John and Mary left , John gave a cup to",
    ),
    (
        "Then John and Mary sat and Mary gave a big cup to",
        "Then John and Mary sat and John gave a big cup to",
    ),
)
ANSWERS = (" John", " Mary")

MODEL_RULES = (
    "cache_activations",
    "compute_curves",
    "integrate_gradients",
    "measure_faithfulness",
    "find_partners",
    "measure_answers",
    "measure_roles",
    "record_patterns",
    "compute_edges",
    "patch_positions",
    "trace_positions",
    "score_baselines",
    "find_circuits",
    "find_edge_circuits",
    "search_counterfactuals",
    "validate_counterfactuals",
    "measure_searches",
    "plan_study",
)


def project_copy(folder: Path) -> Path:
    """Copy what the workflow needs, so that a test may edit it."""
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    for path in ROOT.glob("config*.yaml"):
        shutil.copy2(path, folder / path.name)
    shutil.copytree(ROOT / "resources" / "pairs", folder / "resources" / "pairs")
    return folder


def make_tokenizer() -> Any:
    """A byte-level tokenizer in which every word of the pairs, with its space, is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [prompt + answer for pair in PAIRS for prompt in pair for answer in ANSWERS]
    tokenizer.train_from_iterator(texts * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def make_model(folder: Path, architecture: str = "llama", **settings: Any) -> Path:
    """Save a random model of 3 layers with 4 query heads in 2 groups, and its tokenizer.

    ``settings`` are of its configuration, over those written here.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if architecture == "llama":
        shape["head_dim"] = 8
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, **(shape | settings))
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_pairs(path: Path) -> Path:
    """The pairs as a user would write them, and a card beside them."""
    path.with_suffix(".md").write_text("# Small\n\nThree pairs by hand.\n", encoding="utf-8")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clean", "corrupted", "correct", "incorrect"])
        writer.writerows([*pair, *ANSWERS] for pair in PAIRS)
    return path


def configuration() -> dict[str, Any]:
    """The small study: every stage, little of each."""
    return {
        "study": "small",
        "models": {"tiny": {"source": "local", "path": "tiny"}},
        "studies": {
            "small": {
                "model": "tiny",
                "pairs": "small.csv",
                "shard_size": 2,
                "curves": {"nodes": "adaptive"},
                "answers": {"pairs": 2, "heads": 2, "tokens": 3},
                "roles": {"pairs": 2},
                "patterns": {"pairs": 1},
                "edges": {"pairs": 2, "receivers": {"top": 2}},
                "positions": {"pairs": 2},
                "position_curves": {"pairs": 1, "heads": [[1, 2]]},
                "baselines": ["eap_ig", "relp", "atp_star", "atp_hvp"],
                "circuit": {
                    "pairs": 2,
                    "level": "both",
                    "max_nodes": 3,
                    "methods": ["greedy", "ap", "eap_ig_inputs"],
                    "edge_methods": ["pruned", "eap_ig"],
                    "max_edges": 20,
                },
                "statistics": {"bootstrap_samples": 20, "permutations": 30, "top_k": 3},
                "counterfactuals": {
                    "targets": [[1, 2]],
                    "methods": ["descent"],
                    "budget": {"evaluations": 40},
                },
                "report": {"title": "A small study", "heads_shown": 2},
            }
        },
    }


LEFT_OUT: dict[str, Any] = {
    "baselines": [],
    "answers": {"pairs": "none"},
    "roles": {"pairs": "none"},
    "patterns": {"pairs": "none"},
    "edges": {"pairs": "none"},
    "positions": {"pairs": "none"},
    "position_curves": {"pairs": "none"},
    "circuit": {"pairs": "none"},
}
"""Settings that leave out of the small study what a study may do without. Each job starts Python
and imports torch, and of where and how jobs run a dozen show as much as forty."""


def write_configuration(folder: Path, config: dict[str, Any]) -> None:
    (folder / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def prepare(folder: Path, **changes: Any) -> Path:
    """A copy of the project with the small study in it, with ``changes`` to its settings."""
    project_copy(folder)
    make_model(folder / "tiny")
    write_pairs(folder / "small.csv")
    config = configuration()
    config["studies"]["small"] |= changes
    write_configuration(folder, config)
    return folder


def snakemake(
    folder: Path, *arguments: str, configfile: str | None = "small.yaml", threads: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``folder`` as a user does; output and errors come together in stdout.

    Jobs of the model get one thread by default: so small a model gains nothing from more, and what
    such jobs do most is import.
    """
    environment = {**os.environ, "NO_COLOR": "1"}
    for name in ("HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    configured = ["--configfile", configfile] if configfile else []
    shares = ["--set-threads", *(f"{rule}={threads}" for rule in MODEL_RULES)]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", *shares, *configured],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def told(output: str) -> str:
    """The lines of Snakemake's output that say how a run went: of its progress the last."""
    how = re.compile(r"SLURM-job '|Nothing to be done|Exiting because")
    progress = re.findall(r"\d+ of \d+ steps \(\d+%\) done", output)
    lines = [line.strip() for line in output.splitlines() if how.search(line)]
    return "\n".join(f"  {line}" for line in [*lines, *progress[-1:]])


def planned_jobs(
    folder: Path, *arguments: str, configfile: str | None = "small.yaml"
) -> dict[str, int]:
    """How many jobs of each rule a dry run would run, without the target rule."""
    # Targets first: --quiet takes every word that follows it.
    done = snakemake(folder, *arguments, "--dry-run", "--quiet", "rules", configfile=configfile)
    assert done.returncode == 0, done.stdout
    if "Nothing to be done" in done.stdout:
        return {}
    table = done.stdout.partition("Job stats:")[2]
    listed = re.findall(r"^(\w+)\s+(\d+)\s*$", table, flags=re.MULTILINE)
    assert listed, done.stdout
    return {rule: int(number) for rule, number in listed if rule not in ("total", "all")}


def planned_rules(folder: Path, *arguments: str, configfile: str | None = "small.yaml") -> set[str]:
    """The rules that a dry run would run, without the target rule."""
    return set(planned_jobs(folder, *arguments, configfile=configfile))
