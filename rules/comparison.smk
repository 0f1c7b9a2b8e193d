# Several studies side by side, whenever more than one is made.
COMPARED = ["results/comparison/report.html"] if len(CONFIG.studies) > 1 else []

# As in counterpoint/figures/comparison_figures.py, which is not imported here because it imports matplotlib.
COMPARISON_FIGURES = {
    "heads": "Which heads matter in which task",
    "overlaps": "How far the rankings of heads agree",
    "claims": "The numbers that decide the claims",
    "correlations": "Correlations over studies",
}


# Heads, claims and correlations over the studies; the statistics are as the first study has them.
rule compare_studies:
    input:
        pairs=of_studies("pairs.parquet"),
        heads=of_studies("heads.parquet"),
        baseline=of_studies("baseline.parquet"),
        claims=of_studies("claims.csv"),
        correlations=of_studies("correlations.csv"),
    output:
        studies="results/comparison/studies.csv",
        heads="results/comparison/heads.csv",
        overlaps="results/comparison/overlaps.csv",
        claims="results/comparison/claims.csv",
        correlations="results/comparison/correlations.csv",
    log:
        "results/comparison/logs/compare_studies.log",
    benchmark:
        "results/comparison/benchmarks/compare_studies.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        studies=[
            [
                name,
                study["report"]["title"] or name,
                study["model"],
                measured_metric(study["metric"], study["answer_tokens"]),
            ]
            for name, study in CONFIG.studies.items()
        ],
        settings=next(iter(CONFIG.studies.values()))["statistics"],
        code=code_version("scripts/compare_studies.py"),
    message:
        "Comparing the studies"
    script:
        "../scripts/compare_studies.py"


rule draw_comparison:
    input:
        heads="results/comparison/heads.csv",
        overlaps="results/comparison/overlaps.csv",
        claims="results/comparison/claims.csv",
        correlations="results/comparison/correlations.csv",
        claims_of=of_studies("claims.csv"),
        correlations_of=of_studies("correlations.csv"),
    output:
        [
            report(
                f"results/comparison/figures/{name}.svg",
                caption="../reports/captions/comparison.rst",
                category="comparison",
                subcategory="Figures",
                labels={"figure": title},
            )
            for name, title in COMPARISON_FIGURES.items()
        ],
        expand("results/comparison/figures/{name}.png", name=COMPARISON_FIGURES),
    log:
        "results/comparison/logs/draw_comparison.log",
    benchmark:
        "results/comparison/benchmarks/draw_comparison.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        studies=list(CONFIG.studies),
        code=code_version("scripts/draw_comparison.py"),
    message:
        "Drawing the figures that compare the studies"
    script:
        "../scripts/draw_comparison.py"


# One HTML page that opens offline, and the executed notebook beside it.
rule render_comparison:
    input:
        rules.compare_studies.output,
        rules.draw_comparison.output,
        of_studies("claims.csv"),
        of_studies("pairs.parquet"),
        of_studies("baseline.parquet"),
        of_studies("heads.parquet"),
        of_studies("curves.safetensors"),
        map(given, PAGE_TEMPLATE),
        notebook=given("reports/comparison.ipynb"),
        views=given("reports/studies.ipynb"),
    output:
        html=report(
            "results/comparison/report.html",
            caption="../reports/captions/comparison.rst",
            category="comparison",
            subcategory="Report",
            labels={"page": "The studies side by side"},
        ),
        notebook="results/comparison/report.ipynb",
    log:
        "results/comparison/logs/render_comparison.log",
    benchmark:
        "results/comparison/benchmarks/render_comparison.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        contents=contents(lambda wildcards: PAGE_TEMPLATE),
        code=[
            code_version("scripts/render_comparison.py"),
            code_version("reports/comparison.ipynb"),
            code_version("reports/studies.ipynb"),
        ],
    message:
        "Rendering the comparison of the studies"
    script:
        "../scripts/render_comparison.py"
