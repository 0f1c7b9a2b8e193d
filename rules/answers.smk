# What the first heads do to other answers than a pair's own, and to the whole vocabulary.
rule measure_answers:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
        model=model_ready,
    output:
        answers="results/{study}/answers.parquet",
        tokens="results/{study}/answer_tokens.parquet",
    log:
        "results/{study}/logs/measure_answers.log",
    benchmark:
        "results/{study}/benchmarks/measure_answers.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=120,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "answers"),
        heads=lambda wildcards: CONFIG.studies[wildcards.study]["report"]["heads"],
        code=code_version("scripts/measure_answers.py"),
    message:
        "Measuring what heads of study {wildcards.study} do to other answers"
    script:
        "../scripts/measure_answers.py"
