# Scores of other papers beside ours, where a study asks for them, and how far each is right.


# The baselines of every head, for merge_scores.
rule score_baselines:
    input:
        activations=rules.cache_activations.output.activations,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/baseline_scores.parquet",
    log:
        "results/{study}/logs/score_baselines/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/score_baselines/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "baselines"),
        code=code_version("scripts/score_baselines.py"),
    message:
        "Scoring the heads of study {wildcards.study} by other methods, shard {wildcards.shard}"
    script:
        "../scripts/score_baselines.py"


# How far each score agrees with AP, and what it finds with few exact checks.
rule compare_scores:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
    output:
        agreement="results/{study}/score_agreement.csv",
        opposites="results/{study}/one_direction_heads.csv",
    log:
        "results/{study}/logs/compare_scores.log",
    benchmark:
        "results/{study}/benchmarks/compare_scores.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input: 1000 + int(10 * input.size_mb),
        runtime=30,
    params:
        settings=settings("statistics"),
        code=code_version("scripts/compare_scores.py"),
    message:
        "Comparing the scores of study {wildcards.study} with exact patching"
    script:
        "../scripts/compare_scores.py"
