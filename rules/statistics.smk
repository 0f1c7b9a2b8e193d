# How the measures relate, over heads and pairs.
rule compute_statistics:
    input:
        heads="results/{study}/heads.parquet",
    output:
        correlations="results/{study}/correlations.csv",
        claims="results/{study}/claims.csv",
        stability="results/{study}/stability.csv",
    log:
        "results/{study}/logs/compute_statistics.log",
    benchmark:
        "results/{study}/benchmarks/compute_statistics.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("statistics"),
        code=code_version("scripts/compute_statistics.py"),
    message:
        "Computing the statistics of study {wildcards.study}"
    script:
        "../scripts/compute_statistics.py"
