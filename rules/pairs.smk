from counterpoint.pairs.sets.pair_sets import PAIR_SETS


wildcard_constraints:
    pair_set="|".join(PAIR_SETS),
    hub_file="|".join(map(re.escape, HUB)) or "none",


# A file of pairs from the Hugging Face hub.
rule fetch_pairs:
    output:
        local("{hub_file}"),
    log:
        "results/logs/fetch_pairs/{hub_file}.log",
    benchmark:
        "results/benchmarks/fetch_pairs/{hub_file}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        source=lambda wildcards: HUB[wildcards.hub_file],
        code=code_version("scripts/fetch_pairs.py"),
    message:
        "Fetching {params.source}"
    script:
        "../scripts/fetch_pairs.py"


# Check and tokenise the pairs of a study.
rule prepare_pairs:
    input:
        fetched=fetched_pairs,
        model=model_ready,
    output:
        pairs=report(
            "results/{study}/pairs.parquet",
            caption="../reports/captions/pairs.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Pairs"},
        ),
        dropped="results/{study}/dropped.csv",
        # Which token stands before each prompt, or why none does.
        beginning="results/{study}/beginning.json",
        warnings="results/{study}/warnings.csv",
    log:
        "results/{study}/logs/prepare_pairs.log",
    benchmark:
        "results/{study}/benchmarks/prepare_pairs.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        pairs=pairs_path,
        contents=contents(lambda wildcards: [pairs_path(wildcards)]),
        settings=settings(
            "prepend_bos",
            "on_bad_pair",
            "answer_tokens",
            "unequal_lengths",
            "max_pairs",
        ),
        code=code_version("scripts/prepare_pairs.py"),
    message:
        "Checking and tokenising the pairs of study {wildcards.study}"
    script:
        "../scripts/prepare_pairs.py"


# The same pairs without the token before each prompt, for a study that is measured both ways.
rule drop_beginning:
    input:
        pairs="results/{study}/pairs.parquet",
        beginning="results/{study}/beginning.json",
    output:
        pairs="results/{study}/without_bos/pairs.parquet",
    log:
        "results/{study}/logs/drop_beginning.log",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings("model"),
        code=code_version("scripts/drop_beginning.py"),
    message:
        "Taking the first token off the prompts of study {wildcards.study}"
    script:
        "../scripts/drop_beginning.py"


# A pair set made for a model's tokenizer; the shipped ones are copies for the default model's.
rule generate_pairs:
    input:
        settings=given("resources/pairs/settings.yaml"),
        model=local("resources/models/{model}/provenance.json"),
    output:
        "results/pair_sets/{model}/{pair_set}.csv",
    log:
        "results/logs/generate_pairs/{model}.{pair_set}.log",
    benchmark:
        "results/benchmarks/generate_pairs/{model}.{pair_set}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        contents=contents(lambda wildcards: ["resources/pairs/settings.yaml"]),
        code=code_version("scripts/generate_pairs.py"),
    message:
        "Making the pair set {wildcards.pair_set} for the model {wildcards.model}"
    script:
        "../scripts/generate_pairs.py"


# All pair sets, for the models of all studies (make pairs).
rule pair_sets:
    input:
        expand(
            "results/pair_sets/{model}/{pair_set}.csv",
            model=CONFIG.models,
            pair_set=PAIR_SETS,
        ),
