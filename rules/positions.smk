# AP at single positions, for a study that asks for it.
rule patch_positions:
    input:
        activations=rules.cache_activations.output.activations,
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/positions.parquet",
    log:
        "results/{study}/logs/patch_positions/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/patch_positions/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "positions"),
        code=code_version("scripts/patch_positions.py"),
    message:
        "Patching single positions of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/patch_positions.py"


rule merge_positions:
    input:
        scores=of_shards("positions.parquet"),
    output:
        "results/{study}/positions.parquet",
    log:
        "results/{study}/logs/merge_positions.log",
    benchmark:
        "results/{study}/benchmarks/merge_positions.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "component", "layer", "head", "position"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the positions of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"


# f and g at single positions, for a study that asks for them.
rule trace_positions:
    input:
        activations=rules.cache_activations.output.activations,
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/position_curves.parquet",
    log:
        "results/{study}/logs/trace_positions/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/trace_positions/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(
            *MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "curves", "position_curves"
        ),
        code=code_version("scripts/trace_positions.py"),
    message:
        "Tracing single positions of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/trace_positions.py"


rule merge_position_curves:
    input:
        scores=of_shards("position_curves.parquet"),
    output:
        "results/{study}/position_curves.parquet",
    log:
        "results/{study}/logs/merge_position_curves.log",
    benchmark:
        "results/{study}/benchmarks/merge_position_curves.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "component", "layer", "head", "position"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the curves at positions of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"
