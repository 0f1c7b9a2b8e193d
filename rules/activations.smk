# Run both prompts of every pair of a shard once and keep what the measurements share.
rule cache_activations:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        activations=kept_or_temp(
            "results/{study}/shards/{shard}/activations.safetensors"
        ),
        baseline="results/{study}/shards/{shard}/baseline.parquet",
    log:
        "results/{study}/logs/cache_activations/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/cache_activations/{shard}.tsv"
    wildcard_constraints:
        study=MEASURED_NAMES,
    # Searches, which take longest, wait for the scores; what else waits for nothing else runs beside them.
    priority: 2
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=60,
    params:
        settings=settings(*MODEL_SETTINGS, "metric"),
        shard_size=shard_size,
        code=code_version("scripts/cache_activations.py"),
    message:
        "Caching the activations of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/cache_activations.py"
