# Shared by all: the checked configuration, lookups of settings, lists of files.
import json
import math
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from counterpoint import hub
from counterpoint.code_version import code_version
from counterpoint.config import number_of_targets, resolve, search_settings
from counterpoint.errors import UserError
from counterpoint.models.weights import weights_mb
from counterpoint.pairs import count_rows

try:
    CONFIG = resolve(config, source=" with ".join(map(str, workflow.configfiles)))
    # Counted before anything has run, so that the number of shards is known.
    ROWS = {
        # Of a file on the hub nothing is known yet, so at most as many as are asked for.
        name: (
            study["max_pairs"]
            if hub.is_hub_file(study["pairs"])
            else count_rows(study["pairs"])
        )
        for name, study in CONFIG.studies.items()
    }
    # Files of pairs on the hub, by where their copies stand.
    HUB = {
        str(hub.parse(study["pairs"]).local): study["pairs"]
        for study in CONFIG.studies.values()
        if hub.is_hub_file(study["pairs"])
    }
except UserError as mistake:
    # Snakemake shows this one without a traceback.
    raise WorkflowError(str(mistake)) from None


METHODS = {
    method
    for study in CONFIG.studies.values()
    for method in study["counterfactuals"]["methods"]
}


wildcard_constraints:
    method="|".join(sorted(METHODS)) or "none",
    study="|".join(map(re.escape, CONFIG.studies)),
    model="|".join(map(re.escape, CONFIG.models)),
    shard=r"\d+",
    layer=r"\d+",
    head=r"\d+",
    seed=r"\d+",


# Settings of every job that runs the model, and of every one that measures with it.
MODEL_SETTINGS = ("prepend_bos", "device", "dtype")
MEASUREMENT_SETTINGS = ("metric", "directions", "memory_mb")


# Large, and soon made again: kept only where few.
kept_or_temp = temp if max(ROWS.values()) > CONFIG.keep_activations else str

# What notebooks become pages by. Like all files that come with the project these are on this
# machine, wherever results are kept.
PAGE_TEMPLATE = [
    local(f"reports/template/counterpoint/{name}")
    for name in ("conf.json", "index.html.j2", "style.css")
]

# As in counterpoint/plots.py, which is not imported here because it imports matplotlib.
FIGURES = {
    "top_heads": "The heads of largest effect",
    "heat_maps": "Heat maps of four measures",
    "heat_maps_first_pair": "Heat maps of the first pair",
    "regressions": "How the measures go together",
    "correlations": "Correlations with their intervals",
    "curves": "Output curves and gradients",
    "stability": "How far the ranking holds",
}


def settings(*keys):
    """The named settings of the wildcards' study, as one mapping.

    One mapping and not one parameter each: Snakemake compares parameters by their values alone,
    without their names, and would not see two that exchange their values.
    """
    return lambda wildcards: {key: CONFIG.studies[wildcards.study][key] for key in keys}


def pairs_file(wildcards):
    """The file of pairs of a study on this machine, wherever results are kept."""
    pairs = CONFIG.studies[wildcards.study]["pairs"]
    return local(str(hub.parse(pairs).local) if hub.is_hub_file(pairs) else pairs)


def pairs_card(wildcards):
    """The data card beside a study's file of pairs, where there is one."""
    card = Path(pairs_file(wildcards)).with_suffix(".md")
    return [local(str(card))] if card.is_file() else []


def model_folder(wildcards):
    return f"resources/models/{CONFIG.studies[wildcards.study]['model']}"


def model_ready(wildcards):
    """The file that is written last when a model is fetched: a folder on this machine, since the
    file stands for all that is beside it, wherever results are kept."""
    return local(f"{model_folder(wildcards)}/provenance.json")


def shards(study):
    """Numbers of the shards that the pairs of a study are split into."""
    limit = CONFIG.studies[study]["max_pairs"]
    rows = ROWS[study] if limit is None else min(ROWS[study], limit)
    return range(max(1, math.ceil(rows / CONFIG.studies[study]["shard_size"])))


def of_shards(name):
    """The file of this name of every shard of the wildcards' study."""
    return lambda wildcards: expand(
        f"results/{{study}}/shards/{{shard}}/{name}",
        study=wildcards.study,
        shard=shards(wildcards.study),
    )


def mlps(wildcards):
    """The table of MLPs, for a study that asks for it."""
    asked = "mlp" in CONFIG.studies[wildcards.study]["components"]
    return f"results/{wildcards.study}/mlps.parquet" if asked else []


def weights_of(wildcards):
    """MB of the model's weights."""
    try:
        return weights_mb(
            model_folder(wildcards), CONFIG.studies[wildcards.study]["dtype"]
        )
    except FileNotFoundError:
        # Asked again when the job may start, and the model is there.
        return 0


def model_memory(wildcards):
    """MB for a job that runs the model: its batches, the weights and the libraries."""
    return CONFIG.studies[wildcards.study]["memory_mb"] + 2500 + weights_of(wildcards)


def packed_model_memory(wildcards):
    """The same where the weights are kept a second time (`counterpoint.linear`)."""
    return model_memory(wildcards) + weights_of(wildcards)


def gpus_of(wildcards):
    """GPUs for a job that runs the model of the wildcards' study."""
    return int(CONFIG.studies[wildcards.study]["device"].startswith("cuda"))


# Where no study wants one, a number, since Snakemake asks a function again for every job.
DEVICES = [study["device"] for study in CONFIG.studies.values()]
gpus = gpus_of if any(device.startswith("cuda") for device in DEVICES) else 0


def cores_at_hand(wildcards):
    """How many cores Snakemake may use here; 1 where a cluster has them and nobody said how many."""
    try:
        return workflow.cores or 1
    except WorkflowError:
        return 1


def targets(wildcards):
    """The heads of a study for which pairs are searched, as [layer, head]."""
    wanted = CONFIG.studies[wildcards.study]["counterfactuals"]["targets"]
    if isinstance(wanted, list):
        return wanted
    # Which heads these are is known only when the study's scores are.
    with (
        checkpoints.choose_targets.get(study=wildcards.study).output[0].open() as stream
    ):
        return json.load(stream)


def of_targets(wildcards):
    """What was found for every target of the study by every method, and its validation."""
    methods = counterfactual_setting(wildcards, "methods")
    names = [*methods, *(f"{method}.trace" for method in methods), "validation"]
    return [
        f"results/{wildcards.study}/counterfactuals/{layer}.{head}/{name}.parquet"
        for layer, head in targets(wildcards)
        for name in names
    ]


def of_methods(name):
    """This file of every method of the wildcards' study, for one target."""
    return lambda wildcards: expand(
        f"results/{{study}}/counterfactuals/{{layer}}.{{head}}/{name}",
        method=counterfactual_setting(wildcards, "methods"),
        allow_missing=True,
    )


def of_seeds(name):
    """This file of every seed of the wildcards' study, for one target and method."""
    return lambda wildcards: expand(
        f"results/{{study}}/counterfactuals/{{layer}}.{{head}}/{name}",
        seed=counterfactual_setting(wildcards, "seeds"),
        allow_missing=True,
    )


def of_searches(name):
    """This file of every method and seed, method by method, for one target."""
    return lambda wildcards: expand(
        f"results/{{study}}/counterfactuals/{{layer}}.{{head}}/searches/{name}",
        method=counterfactual_setting(wildcards, "methods"),
        seed=counterfactual_setting(wildcards, "seeds"),
        allow_missing=True,
    )


def counterfactual_setting(wildcards, key):
    return CONFIG.studies[wildcards.study]["counterfactuals"][key]


def counterfactual_settings(*keys):
    """The named settings of the study's searches, as one mapping (see `settings`)."""
    return lambda wildcards: {
        key: counterfactual_setting(wildcards, key) for key in keys
    }


def atlas(wildcards):
    """The atlas and its figure, for a study that asks for one."""
    if not CONFIG.studies[wildcards.study]["counterfactuals"]["atlas"]["seeds"]:
        return []
    return [
        f"results/{wildcards.study}/{name}"
        for name in ("atlas.parquet", "figures/atlas.svg", "figures/atlas.png")
    ]


def atlas_setting(wildcards, key):
    return counterfactual_setting(wildcards, "atlas")[key]


def atlas_search(wildcards):
    """What each search for the study's atlas depends on: not on what other seeds there are."""
    keys = ("budget", "start", "settings")
    return {
        key: atlas_setting(wildcards, key) for key in keys
    } | counterfactual_settings("answer_in_prompt")(wildcards)


def atlas_parts(way):
    """The verified parts of the wildcards' study's atlas, or of its baseline."""
    return lambda wildcards: expand(
        "results/{study}/atlas/{way}/verified/{part}.parquet",
        study=wildcards.study,
        way=way,
        part=range(len(atlas_setting(wildcards, "seeds"))),
    )


def of_studies(name):
    """The file of this name of every study."""
    return expand(f"results/{{study}}/{name}", study=CONFIG.studies)
