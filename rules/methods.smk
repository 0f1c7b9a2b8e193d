# The methods of searching side by side, on the targets, methods and seeds of a study (make compare).


COMPARISONS = expand(
    "results/{study}/methods/methods.{suffix}",
    study=CONFIG.studies,
    suffix=("csv", "svg"),
)


rule methods:
    input:
        COMPARISONS,
        lost(COMPARISONS),


localrules:
    methods,


# What every search for one head came to; the model is loaded once for all of them.
rule measure_searches:
    input:
        archives=of_searches("{method}.{seed}.parquet"),
        traces=of_searches("{method}.{seed}.trace.parquet"),
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        measured="results/{study}/methods/heads/{layer}.{head}.parquet",
    log:
        "results/{study}/logs/measure_searches/{layer}.{head}.log",
    benchmark:
        "results/{study}/benchmarks/measure_searches/{layer}.{head}.tsv"
    # A head whose searches are done is measured before other searches begin.
    priority: 2
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=packed_model_memory,
        runtime=60,
        gpu=gpus,
    params:
        settings=settings(*MODEL_SETTINGS, "memory_mb"),
        search=counterfactual_settings("methods", "seeds", "in_depth", "transfers"),
        code=code_version("scripts/measure_searches.py"),
    message:
        "Measuring what the searches for head {wildcards.layer}.{wildcards.head} of study {wildcards.study} found"
    script:
        "../scripts/measure_searches.py"


# Medians, ranges and wins over all heads and seeds.
rule compare_methods:
    input:
        measured=lambda wildcards: [
            f"results/{wildcards.study}/methods/heads/{layer}.{head}.parquet"
            for layer, head in targets(wildcards)
        ],
    output:
        runs="results/{study}/methods/methods.parquet",
        summary="results/{study}/methods/methods.csv",
        settings="results/{study}/methods/settings.json",
    log:
        "results/{study}/logs/compare_methods.log",
    benchmark:
        "results/{study}/benchmarks/compare_methods.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=settings("model", "pairs", "counterfactuals"),
        code=code_version("scripts/compare_methods.py"),
    message:
        "Comparing the methods of study {wildcards.study}"
    script:
        "../scripts/compare_methods.py"


rule draw_methods:
    input:
        summary="results/{study}/methods/methods.csv",
    output:
        "results/{study}/methods/methods.svg",
        "results/{study}/methods/methods.png",
    log:
        "results/{study}/logs/draw_methods.log",
    benchmark:
        "results/{study}/benchmarks/draw_methods.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_version("scripts/draw_methods.py"),
    message:
        "Drawing the methods of study {wildcards.study}"
    script:
        "../scripts/draw_methods.py"
