# Shared by all: the checked configuration, lookups of settings, lists of files.
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import is_flagged
from snakemake_interface_executor_plugins.settings import ExecMode

sys.path.insert(0, workflow.basedir)

from counterpoint.glossary.metric_words import measured_metric
from counterpoint.pairs import hub
from counterpoint.models.beginning_token import BOTH, measured
from counterpoint.workflow.code_version import code_version
from counterpoint.workflow.command_line import described, makes_nothing, names_study
from counterpoint.workflow.config import number_of_targets, resolve, search_settings
from counterpoint.files.digests import digest_of
from counterpoint.errors import UserError
from counterpoint.files.artifacts import user_path
from counterpoint.workflow.made_files import (
    damaged_files,
    lost_files,
    put_aside,
    told_damaged,
    told_lost,
)
from counterpoint.workflow.config_layers import from_command_line, read_layers
from counterpoint.models.weight_files import weights_mb
from counterpoint.workflow.named_heads import (
    check_depth_of_baselines,
    check_named_heads,
)
from counterpoint.pairs.pair_files import count_rows
from counterpoint.workflow.folder_locks import enter
from counterpoint.workflow.sharding import (
    number_of_shards,
    pairs_per_shard,
    threads_for,
)
from counterpoint.files.allowed_names import outside
from counterpoint.workflow.kept_results import (
    KeptResults,
    Output,
    put_back_of_killed_runs,
    told,
)
from counterpoint.workflow.start_checks import (
    PAIR_SETTINGS,
    Question,
    check,
    check_folders,
    searched,
)

# Whether this is the Snakemake that a user started, and not one that it started for a job.
STARTED_BY_USER = workflow.exec_mode == ExecMode.DEFAULT


def refuse(mistake):
    """End with a mistake's message alone: an exception would be followed by the line of this file."""
    print(f"error: {mistake}", file=sys.stderr, flush=True)
    sys.exit(1)


def put_back(paths):
    """Say which files of before were put back, if any."""
    if paths:
        print(told(paths), file=sys.stderr, flush=True)


# What this run keeps of the results that are there, until they are made anew.
KEPT = KeptResults()

if STARTED_BY_USER:
    found = enter()
    if found:
        print(found, file=sys.stderr)
    put_back(put_back_of_killed_runs())


def configuration():
    """What the configuration files hold, their names, and whether the command line names a study.

    Snakemake's own `config` has lost what is needed here: which file a key is from, keys that stand
    twice, and how a scalar is written.
    """
    chosen = workflow.config_settings
    # As Snakemake lists them: those of the command line, then the workflow's own.
    own = workflow.configfiles[len(chosen.configfiles) :]
    files = [*([] if chosen.replace_workflow_config else own), *chosen.configfiles]
    source = " with ".join(map(described, files))
    if workflow.modifier.skip_configfile:
        # A module of another workflow, which has put its configuration together.
        return config, source, True
    arguments = sys.argv[1:] if STARTED_BY_USER else []
    values = from_command_line(chosen.config, arguments)
    return read_layers(files, values), source, names_study(files, values)


try:
    if re.search(r"[{}]", str(workflow.basedir)):
        raise UserError(
            f"the project stands in {workflow.basedir}: Snakemake takes braces in the "
            "names of its folders for wildcards; move the project, or rename the folder"
        )
    # Snakemake writes there whatever it is asked to do.
    check_folders([".snakemake"], written=STARTED_BY_USER)
    raw, source, is_named = configuration()
    CONFIG = resolve(raw, source=source, is_named=is_named)
    check_folders(
        [
            *(f"results/{study}" for study in CONFIG.studies),
            *(f"resources/models/{model}" for model in CONFIG.models),
        ]
    )
    check_named_heads(CONFIG, Path("resources/models"))
    check_depth_of_baselines(CONFIG, Path("resources/models"))
    # Counted before anything has run, so that the number of shards is known.
    ROWS = {
        # Of a file on the hub nothing is known yet, so at most as many as are asked for.
        name: (
            study["max_pairs"]
            if hub.is_hub_file(study["pairs"])
            else count_rows(user_path(study["pairs"]))
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
    refuse(mistake)


# While another run is at work, here or on another machine, a file may be newer than its record.
if STARTED_BY_USER and not list(Path(".snakemake/locks").glob("*.lock")):
    damaged = damaged_files()
    if damaged:
        is_mended = not makes_nothing(sys.argv[1:])
        print(told_damaged(damaged, put_aside=is_mended), file=sys.stderr)
        for file in damaged if is_mended else ():
            put_aside(file)


# What is measured: the studies, and those that a study contains (without_bos) under its name.
MEASURED = measured(CONFIG.studies)
MEASURED_NAMES = "|".join(map(re.escape, MEASURED))


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

# What notebooks become pages by.
PAGE_TEMPLATE = [
    f"reports/template/counterpoint/{name}"
    for name in (
        "conf.json",
        "index.html.j2",
        "style.css",
        "page.js",
        "explorer.css",
        "explorer.js",
    )
]

# As in counterpoint/figures/study_figures.py, which is not imported here because it imports matplotlib.
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
    return lambda wildcards: {key: MEASURED[wildcards.study][key] for key in keys}


def given(path):
    """A file that comes with the project, as an input: on this machine, wherever results are kept.

    Its contents decide whether what is made of it is made again (`contents`), and never its time
    stamp, which may be newer without a change or older in spite of one.
    """
    return ancient(local(path))


def contents(files):
    """For `params`: the digest of the contents of the files that a rule is given by its user.

    Such files are no inputs: Snakemake would go by their time stamps, and take braces in their
    names for wildcards. It asks for `params` again when a job is ready to start, and so when what
    is fetched is there.
    """
    return lambda wildcards: digest_of(files(wildcards))


def pairs_path_of(study):
    """Where the file of pairs of a study is on this machine."""
    pairs = CONFIG.studies[study]["pairs"]
    return str(hub.parse(pairs).local if hub.is_hub_file(pairs) else user_path(pairs))


def pairs_path(wildcards):
    """The same for the study of the wildcards."""
    return pairs_path_of(wildcards.study)


def fetched_pairs(wildcards):
    """The copy of a file of pairs on the hub, which a rule makes; no input for other files."""
    path = pairs_path(wildcards)
    return local(path) if path in HUB else []


def card_path(wildcards):
    """The data card beside a study's file of pairs, where there is one."""
    card = Path(pairs_path(wildcards)).with_suffix(".md")
    return str(card) if card.is_file() else None


def files_of_page(wildcards):
    """Files of a report that are not made by the workflow: the template and the data card."""
    card = card_path(wildcards)
    return PAGE_TEMPLATE if card is None else [*PAGE_TEMPLATE, card]


def model_folder(wildcards):
    return f"resources/models/{MEASURED[wildcards.study]['model']}"


def model_ready(wildcards):
    """The file that is written last when a model is fetched: a folder on this machine, since the
    file stands for all that is beside it, wherever results are kept."""
    return local(f"{model_folder(wildcards)}/provenance.json")


def rows_of(study):
    """How many pairs a study has at most, before any has been looked at."""
    limit = MEASURED[study]["max_pairs"]
    rows = ROWS[study.partition("/")[0]]
    return rows if limit is None else min(rows, limit)


def shards(study):
    """Numbers of the shards that the pairs of a study are split into."""
    return range(number_of_shards(MEASURED[study]["shard_size"], rows_of(study)))


def shard_size(wildcards):
    """Pairs of each shard of the wildcards' study."""
    study = wildcards.study
    return pairs_per_shard(MEASURED[study]["shard_size"], rows_of(study))


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


def edges(wildcards):
    """The table of edges, for a study that asks for one."""
    asked = CONFIG.studies[wildcards.study]["edges"]["pairs"] != "none"
    return f"results/{wildcards.study}/edges.parquet" if asked else []


def roles(wildcards):
    """The table of roles, for a study that asks for it."""
    asked = CONFIG.studies[wildcards.study]["roles"]["pairs"] != "none"
    return f"results/{wildcards.study}/roles.parquet" if asked else []


def patterns(wildcards):
    """The attention patterns, for a study that asks for them."""
    asked = CONFIG.studies[wildcards.study]["patterns"]["pairs"] != "none"
    return f"results/{wildcards.study}/patterns.safetensors" if asked else []


def positions(wildcards):
    """The table of positions, for a study that asks for one."""
    asked = CONFIG.studies[wildcards.study]["positions"]["pairs"] != "none"
    return f"results/{wildcards.study}/positions.parquet" if asked else []


def position_curves(wildcards):
    """The curves at single positions, for a study that asks for some."""
    asked = CONFIG.studies[wildcards.study]["position_curves"]["pairs"] != "none"
    return f"results/{wildcards.study}/position_curves.parquet" if asked else []


def has_baselines(study):
    """Whether a study asks for scores of other papers; what it contains (without_bos) does not."""
    return study in CONFIG.studies and bool(CONFIG.studies[study]["baselines"])


def baseline_scores(wildcards):
    """The tables of baselines of the shards, for a study that asks for some."""
    if not has_baselines(wildcards.study):
        return []
    return of_shards("baseline_scores.parquet")(wildcards)


def score_agreement(wildcards):
    """How far the scores are right, for a study that has baselines."""
    if not has_baselines(wildcards.study):
        return []
    return [
        f"results/{wildcards.study}/{name}.csv"
        for name in ("score_agreement", "one_direction_heads")
    ]


def circuit_settings(*keys):
    """What a study's key `circuit` says of one level of circuits."""
    return lambda wildcards: {
        key: CONFIG.studies[wildcards.study]["circuit"][key] for key in keys
    }


def circuit_statistics(wildcards):
    """What the intervals of circuits use of a study's statistics."""
    statistics = CONFIG.studies[wildcards.study]["statistics"]
    return {key: statistics[key] for key in ("bootstrap_samples", "confidence", "seed")}


def circuits(wildcards):
    """The study's circuits and the exported scores of their members, for a study that asks for
    them.

    The benchmark has one direction, which is `noising`.
    """
    study = CONFIG.studies[wildcards.study]
    circuit = study["circuit"]
    if circuit["pairs"] == "none":
        return []
    is_exported, names = "noising" in study["directions"], []
    if circuit["level"] != "edges":
        names += [
            "circuit.parquet",
            "circuit_nodes.parquet",
            "circuit_faithfulness.parquet",
            "circuit_curves.csv",
            "circuit_areas.csv",
        ]
        exported = [name for name in circuit["methods"] if name != "greedy"]
        names += [f"importances/{name}.json" for name in exported if is_exported]
    if circuit["level"] != "nodes":
        names += [
            "circuit_edges.parquet",
            "circuit_edge_scores.parquet",
            "circuit_edge_faithfulness.parquet",
            "circuit_edge_curves.csv",
            "circuit_edge_areas.csv",
        ]
        exported = [name for name in circuit["edge_methods"] if name != "pruned"]
        names += [f"importances/edges/{name}.json" for name in exported if is_exported]
    return [f"results/{wildcards.study}/{name}" for name in names]


def answers(wildcards):
    """Effects on answers and on tokens, for a study that asks for them."""
    if CONFIG.studies[wildcards.study]["answers"]["pairs"] == "none":
        return []
    return [
        f"results/{wildcards.study}/{name}.parquet"
        for name in ("answers", "answer_tokens")
    ]


def without_bos(wildcards):
    """The scores without the beginning-of-sequence token and their agreement with the study's, for
    a study that asks for both."""
    if CONFIG.studies[wildcards.study]["prepend_bos"] != BOTH:
        return []
    return [
        f"results/{wildcards.study}/without_bos/{name}"
        for name in ("heads.parquet", "baseline.parquet", "agreement.csv")
    ]


def weights_of(wildcards):
    """MB of the model's weights."""
    try:
        return weights_mb(model_folder(wildcards), MEASURED[wildcards.study]["dtype"])
    except FileNotFoundError:
        # Asked again when the job may start, and the model is there.
        return 0


def model_memory(wildcards):
    """MB for a job that runs the model: its batches, the weights and the libraries."""
    return MEASURED[wildcards.study]["memory_mb"] + 2500 + weights_of(wildcards)


def packed_model_memory(wildcards):
    """The same where the weights are kept a second time (`counterpoint.engine.linear`)."""
    return model_memory(wildcards) + weights_of(wildcards)


def model_threads(wildcards):
    """Threads of a job that runs the model: few of a small one, of which several run at a time."""
    return threads_for(weights_of(wildcards))


def gpus_of(wildcards):
    """GPUs for a job that runs the model of the wildcards' study."""
    return int(MEASURED[wildcards.study]["device"].startswith("cuda"))


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


def is_kept(path):
    """Whether a rule makes this file, and Snakemake does not remove it after its use."""
    outputs = [each for rule in workflow.rules for each in rule.output]
    made = [each for each in outputs if each.match(path)]
    return bool(made) and not any(is_flagged(each, "temp") for each in made)


def lost(wanted):
    """As an input, the files that those ``wanted`` were made of and that are gone.

    Snakemake itself misses no file as long as what was made of it is there.
    """

    def found(wildcards):
        files = lost_files(wanted, is_kept) if STARTED_BY_USER else []
        if files:
            print(told_lost(files), file=sys.stderr)
        return files

    return found


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


def study_of(wildcards):
    """The study that is measured, or that what is measured is contained in (without_bos)."""
    return wildcards.study.partition("/")[0]


def of_which(wildcards):
    """What is said of a table that a study contains, behind its name."""
    if wildcards.study in CONFIG.studies:
        return ""
    return ", without the token before prompts"


def figure_name(name):
    """A figure's name as readers write it: of generated_23.3_pairs "Generated 23.3 pairs"."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def of_studies(name):
    """The file of this name of every study."""
    return expand(f"results/{{study}}/{name}", study=CONFIG.studies)


def begin_run():
    """Before any job: refuse what is known to be wrong, and keep aside what jobs will make anew.

    Snakemake removes a job's outputs before the job looks at its inputs.
    """
    if not STARTED_BY_USER:
        return
    jobs = list(workflow.dag.needrun_jobs())
    files = [file for job in jobs for file in job.output if not file.is_storage]
    strangers = outside(files)
    if strangers:
        refuse(f"{strangers[0]} would be made, which is not below results or resources")
    try:
        check_folders(sorted({Path(file).parent for file in files}), written=True)
        check(list(questions(jobs)))
        KEPT.keep(at_stake(jobs))
    except UserError as mistake:
        refuse(mistake)
    except OSError as error:
        print(
            f"warning: what is there cannot be kept until it is made anew ({error}); a job that "
            "fails will have removed its old files",
            file=sys.stderr,
        )


def end_run(well):
    """After the last job: say where the pages are, or put back what the run has not made."""
    if not well:
        put_back(KEPT.put_back())
        print(
            "What went wrong stands above, after error: or failed:, and in the log named there."
        )
        return
    KEPT.release()
    for name in CONFIG.studies:
        if exists(f"results/{name}/report.html"):
            print(f"The report of study {name}: results/{name}/report.html")
    for page in COMPARED:
        if exists(page):
            print(f"The studies side by side: {page}")


def at_stake(jobs):
    """Outputs of jobs, with Snakemake's own files on them; none where it keeps its records elsewhere.

    Outputs that Snakemake itself removes after their use are not worth keeping.
    """
    records = workflow.persistence
    if not hasattr(records, "_record_path"):
        return
    paths = [
        str(file)
        for job in jobs
        for file in job.output
        if not (file.is_storage or is_flagged(file, "temp"))
    ]
    # For which heads pairs are searched is known only when they are chosen; what is there may be.
    for job in jobs:
        if job.rule.name == "choose_targets":
            folder = Path(f"results/{job.wildcards.study}/counterfactuals")
            paths += map(str, sorted(folder.glob("**/*.parquet")))
    for path in dict.fromkeys(paths):
        places = (
            records._record_path(folder, path)
            for folder in (records._metadata_path, records._incomplete_path)
        )
        yield Output(path, *places)


def questions(jobs):
    """What can be asked of each study's tokenizer before jobs remove what is there, and of its device
    before anything is made on it."""
    fetched = {job.wildcards.model for job in jobs if job.rule.name == "fetch_model"}
    for name, study in CONFIG.studies.items():
        own = [job for job in jobs if dict(job.wildcards.items()).get("study") == name]
        rules = {job.rule.name for job in own}
        folder = Path("resources/models", study["model"])
        known = study["model"] not in fetched and (folder / "provenance.json").is_file()
        there = any(Path(file).exists() for job in own for file in job.output)
        asked = Question(
            name,
            str(folder),
            settings={key: MEASURED[name][key] for key in PAIR_SETTINGS},
        )
        if (
            known
            and there
            and "prepare_pairs" in rules
            and Path(pairs_path_of(name)).is_file()
        ):
            asked = replace(asked, pairs=pairs_path_of(name))
        if (
            known
            and there
            and rules & {"search_counterfactuals", "search_atlas", "choose_targets"}
        ):
            asked = replace(asked, **searched(study))
        if (
            workflow.local_exec
            and study["device"] != "cpu"
            and "cache_activations" in rules
        ):
            asked = replace(asked, device=study["device"])
        if asked.pairs or asked.starts or asked.answers or asked.device:
            yield asked
