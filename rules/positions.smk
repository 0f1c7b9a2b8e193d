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
    threads: 4
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
