# What each head's query, key, value and pattern do, and what it looks at, where a study asks for it.
rule measure_roles:
    input:
        activations=rules.cache_activations.output.activations,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/roles.parquet",
    log:
        "results/{study}/logs/measure_roles/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/measure_roles/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "roles"),
        code=code_version("scripts/measure_roles.py"),
    message:
        "Patching queries, keys, values and patterns of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/measure_roles.py"


rule merge_roles:
    input:
        scores=of_shards("roles.parquet"),
    output:
        "results/{study}/roles.parquet",
    log:
        "results/{study}/logs/merge_roles.log",
    benchmark:
        "results/{study}/benchmarks/merge_roles.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "layer", "head", "role"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the roles of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"


# Few pairs and no measurement: one job, whole prompts.
rule record_patterns:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        "results/{study}/patterns.safetensors",
    log:
        "results/{study}/logs/record_patterns.log",
    benchmark:
        "results/{study}/benchmarks/record_patterns.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=60,
    params:
        settings=settings(*MODEL_SETTINGS, "patterns"),
        code=code_version("scripts/record_patterns.py"),
    message:
        "Recording the attention patterns of study {wildcards.study}"
    script:
        "../scripts/record_patterns.py"
