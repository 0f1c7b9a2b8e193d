# How the measures relate, over heads and pairs.
rule compute_statistics:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
        faithfulness="results/{study}/faithfulness.parquet",
        interaction="results/{study}/interaction.parquet",
    output:
        correlations=report(
            "results/{study}/correlations.csv",
            caption="../reports/captions/correlations_table.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Correlations"},
        ),
        claims=report(
            "results/{study}/claims.csv",
            caption="../reports/captions/claims.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "The three claims"},
        ),
        stability="results/{study}/stability.csv",
        sample_sizes="results/{study}/sample_sizes.csv",
        variance="results/{study}/variance.csv",
    log:
        "results/{study}/logs/compute_statistics.log",
    benchmark:
        "results/{study}/benchmarks/compute_statistics.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        # Some pairs at a time, whatever their number (docs/scale.md).
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("statistics"),
        code=code_version("scripts/compute_statistics.py"),
    message:
        "Computing the statistics of study {wildcards.study}"
    script:
        "../scripts/compute_statistics.py"


# How far the scores with and without the token before each prompt agree.
rule compare_beginnings:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
        without="results/{study}/without_bos/heads.parquet",
    output:
        agreement="results/{study}/without_bos/agreement.csv",
    log:
        "results/{study}/logs/compare_beginnings.log",
    benchmark:
        "results/{study}/benchmarks/compare_beginnings.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input: 1000 + int(10 * input.size_mb),
        runtime=30,
    params:
        settings=settings("statistics"),
        code=code_version("scripts/compare_beginnings.py"),
    message:
        "Comparing study {wildcards.study} with and without the token before each prompt"
    script:
        "../scripts/compare_beginnings.py"


# Every figure of the report, as SVG and PNG.
rule draw_figures:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
        baseline="results/{study}/baseline.parquet",
        curves="results/{study}/curves.safetensors",
        correlations="results/{study}/correlations.csv",
        stability="results/{study}/stability.csv",
    output:
        [
            report(
                f"results/{{study}}/figures/{name}.svg",
                caption=f"../reports/captions/{name}.rst",
                category="{study}",
                subcategory="Figures",
                labels={"figure": title},
            )
            for name, title in FIGURES.items()
        ],
        expand(
            "results/{study}/figures/{name}.png",
            name=FIGURES,
            allow_missing=True,
        ),
    log:
        "results/{study}/logs/draw_figures.log",
    benchmark:
        "results/{study}/benchmarks/draw_figures.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=settings(
            "directions", "metric", "answer_tokens", "statistics", "report"
        ),
        code=code_version("scripts/draw_figures.py"),
    message:
        "Drawing the figures of study {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
