# What the sections of a report are made of: files of every study, and of those that ask for them.
OF_SECTIONS = [
    "results/{study}/pairs.parquet",
    "results/{study}/dropped.csv",
    "results/{study}/warnings.csv",
    "results/{study}/baseline.parquet",
    "results/{study}/heads.parquet",
    "results/{study}/curves.safetensors",
    "results/{study}/faithfulness.parquet",
    "results/{study}/interaction.parquet",
    mlps,
    roles,
    patterns,
    edges,
    positions,
    position_curves,
    circuits,
    rules.compute_statistics.output,
    of_targets,
    atlas,
    answers,
    without_bos,
    score_agreement,
]


# The figures that only some studies have: which, the sections of the report say.
rule draw_section_figures:
    input:
        *OF_SECTIONS,
        # Only its tokenizer is read, to name tokens.
        model=model_ready,
    output:
        figures=report(
            directory("results/{study}/figures/sections"),
            patterns=["{figure}.svg"],
            caption="../reports/captions/section_figures.rst",
            category="{study}",
            subcategory="Figures",
            labels=lambda wildcards: {"figure": figure_name(wildcards.figure)},
        ),
    log:
        "results/{study}/logs/draw_section_figures.log",
    benchmark:
        "results/{study}/benchmarks/draw_section_figures.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: CONFIG.studies[wildcards.study],
        code=code_version("scripts/draw_section_figures.py"),
    message:
        "Drawing the figures of the sections of study {wildcards.study}"
    script:
        "../scripts/draw_section_figures.py"


# Where the results come from: settings, versions, model, machine, durations.
rule gather_provenance:
    input:
        # Everything that has a duration is done by then.
        "results/{study}/claims.csv",
        rules.draw_figures.output,
        rules.draw_section_figures.output,
        of_targets,
        edges,
        positions,
        position_curves,
        atlas,
        roles,
        patterns,
        circuits,
        answers,
        without_bos,
        score_agreement,
        beginning="results/{study}/beginning.json",
        model=model_ready,
    output:
        provenance="results/{study}/provenance.json",
    log:
        "results/{study}/logs/gather_provenance.log",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        settings=lambda wildcards: CONFIG.studies[wildcards.study],
        benchmarks="results/{study}/benchmarks",
        shards=lambda wildcards: len(shards(wildcards.study)),
        code=code_version("scripts/gather_provenance.py"),
    message:
        "Gathering the provenance of study {wildcards.study}"
    script:
        "../scripts/gather_provenance.py"


# The map of all heads, for a study with an atlas.
rule draw_atlas:
    input:
        atlas="results/{study}/atlas.parquet",
    output:
        svg=report(
            "results/{study}/figures/atlas.svg",
            caption="../reports/captions/atlas.rst",
            category="{study}",
            subcategory="Figures",
            labels={"figure": "The atlas: what was reached for every head"},
        ),
        png="results/{study}/figures/atlas.png",
    log:
        "results/{study}/logs/draw_atlas.log",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_version("scripts/draw_atlas.py"),
    message:
        "Drawing the atlas of study {wildcards.study}"
    script:
        "../scripts/draw_atlas.py"


# One HTML page that opens offline, and the executed notebook beside it.
rule render_report:
    input:
        *OF_SECTIONS,
        rules.draw_figures.output,
        rules.draw_section_figures.output,
        "results/{study}/provenance.json",
        map(given, PAGE_TEMPLATE),
        # Only its tokenizer is read, to mark the tokens that differ.
        model=model_ready,
        notebook=given("reports/report.ipynb"),
        views=given("reports/study.ipynb"),
    output:
        html=report(
            "results/{study}/report.html",
            caption="../reports/captions/report.rst",
            category="{study}",
            subcategory="Report",
            labels={"page": "The whole report"},
        ),
        notebook="results/{study}/report.ipynb",
    log:
        "results/{study}/logs/render_report.log",
    benchmark:
        "results/{study}/benchmarks/render_report.tsv"
    conda:
        "../envs/report.yaml"
    # Two notebooks, each in a process of its own.
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        card=card_path,
        contents=contents(files_of_page),
        settings=lambda wildcards: CONFIG.studies[wildcards.study],
        code=[
            code_version("scripts/render_report.py"),
            code_version("reports/report.ipynb"),
            code_version("reports/study.ipynb"),
        ],
    message:
        "Rendering the report of study {wildcards.study}"
    script:
        "../scripts/render_report.py"
