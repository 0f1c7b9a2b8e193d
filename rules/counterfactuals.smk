# Which heads the searches are for, where the configuration does not name them.
checkpoint choose_targets:
    input:
        # Scores are needed only to pick the first heads by |AP|.
        branch(
            lambda wildcards: "top" in counterfactual_setting(wildcards, "targets"),
            then="results/{study}/heads.parquet",
            otherwise=[],
        ),
        model=model_ready,
    output:
        "results/{study}/counterfactuals/targets.json",
    log:
        "results/{study}/logs/choose_targets.log",
    # As in activations.smk.
    priority: 2
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=counterfactual_settings("targets"),
        code=code_version("scripts/choose_targets.py"),
    message:
        "Choosing the heads of study {wildcards.study} to search pairs for"
    script:
        "../scripts/choose_targets.py"


# One search: pairs on which one head matters most, by one method, from one seed.
rule search_counterfactuals:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        archive="results/{study}/counterfactuals/{layer}.{head}/searches/{method}.{seed}.parquet",
        trace="results/{study}/counterfactuals/{layer}.{head}/searches/{method}.{seed}.trace.parquet",
    log:
        "results/{study}/logs/search_counterfactuals/{layer}.{head}.{method}.{seed}.log",
    benchmark:
        "results/{study}/benchmarks/search_counterfactuals/{layer}.{head}.{method}.{seed}.tsv"
    # That a head does not exist should be known before the long jobs begin.
    priority: 1
    conda:
        "../envs/model.yaml"
    # The matrices are small: two searches side by side use two cores better than one with two threads.
    threads: 1
    resources:
        mem_mb=packed_model_memory,
        gpu=gpus,
        runtime=120,
    params:
        settings=settings(*MODEL_SETTINGS, "memory_mb"),
        search=lambda wildcards: search_settings(
            CONFIG.studies[wildcards.study]["counterfactuals"], wildcards.method
        ),
        code=code_version("scripts/search_counterfactuals.py"),
    message:
        "Searching pairs for head {wildcards.layer}.{wildcards.head} of study {wildcards.study} ({wildcards.method}, seed {wildcards.seed})"
    script:
        "../scripts/search_counterfactuals.py"


# The searches of one head and method from all seeds.
rule merge_searches:
    input:
        archives=of_seeds("searches/{method}.{seed}.parquet"),
        traces=of_seeds("searches/{method}.{seed}.trace.parquet"),
    output:
        archive=report(
            "results/{study}/counterfactuals/{layer}.{head}/{method}.parquet",
            caption="../reports/captions/generated.rst",
            category="{study}",
            subcategory="Generated pairs",
            labels={"head": "{layer}.{head}", "table": "Pairs by {method}"},
        ),
        trace="results/{study}/counterfactuals/{layer}.{head}/{method}.trace.parquet",
    log:
        "results/{study}/logs/merge_searches/{layer}.{head}.{method}.log",
    benchmark:
        "results/{study}/benchmarks/merge_searches/{layer}.{head}.{method}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=counterfactual_settings("seeds"),
        code=code_version("scripts/merge_searches.py"),
    message:
        "Merging the searches for head {wildcards.layer}.{wildcards.head} of study {wildcards.study} ({wildcards.method})"
    script:
        "../scripts/merge_searches.py"


# What the pairs found for a head by a method are worth, by other means than they were selected with.
rule validate_counterfactuals:
    input:
        archive="results/{study}/counterfactuals/{layer}.{head}/{method}.parquet",
        # Their mean loss says what is fluent.
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        validation="results/{study}/counterfactuals/{layer}.{head}/validations/{method}.parquet",
    log:
        "results/{study}/logs/validate_counterfactuals/{layer}.{head}.{method}.log",
    benchmark:
        "results/{study}/benchmarks/validate_counterfactuals/{layer}.{head}.{method}.tsv"
    # The longest jobs after the searches, so that none is left to run alone.
    priority: 1
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=60,
    params:
        settings=settings(*MODEL_SETTINGS, "memory_mb"),
        search=counterfactual_settings("validated", "transferred", "transfers", "nulls"),
        code=code_version("scripts/validate_counterfactuals.py"),
    message:
        "Validating the pairs found for head {wildcards.layer}.{wildcards.head} of study {wildcards.study} ({wildcards.method})"
    script:
        "../scripts/validate_counterfactuals.py"


# What the pairs of all methods are worth.
rule merge_validations:
    input:
        validations=of_methods("validations/{method}.parquet"),
    output:
        validation=report(
            "results/{study}/counterfactuals/{layer}.{head}/validation.parquet",
            caption="../reports/captions/validation.rst",
            category="{study}",
            subcategory="Generated pairs",
            labels={"head": "{layer}.{head}", "table": "What they are worth"},
        ),
    log:
        "results/{study}/logs/merge_validations/{layer}.{head}.log",
    benchmark:
        "results/{study}/benchmarks/merge_validations/{layer}.{head}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_version("scripts/merge_validations.py"),
    message:
        "Merging what the pairs found for head {wildcards.layer}.{wildcards.head} of study {wildcards.study} are worth"
    script:
        "../scripts/merge_validations.py"
