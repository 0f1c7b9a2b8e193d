# Check and tokenise the pairs of a study.
rule prepare_pairs:
    input:
        pairs=lambda wildcards: CONFIG.studies[wildcards.study]["pairs"],
        model=model_ready,
    output:
        pairs="results/{study}/pairs.parquet",
        dropped="results/{study}/dropped.csv",
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
        settings=settings("prepend_bos", "on_bad_pair", "max_pairs"),
        code=code_version("scripts/prepare_pairs.py"),
    message:
        "Checking and tokenising the pairs of study {wildcards.study}"
    script:
        "../scripts/prepare_pairs.py"
