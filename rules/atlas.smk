# One search for the atlas: candidates for every head of the model, from one seed.
rule search_atlas:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        candidates="results/{study}/atlas/{way}/searches/{seed}.parquet",
        trace="results/{study}/atlas/{way}/searches/{seed}.trace.parquet",
    log:
        "results/{study}/logs/search_atlas/{way}.{seed}.log",
    benchmark:
        "results/{study}/benchmarks/search_atlas/{way}.{seed}.tsv"
    wildcard_constraints:
        way="niches",
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=packed_model_memory,
        runtime=720,
        gpu=gpus,
    params:
        settings=settings(*MODEL_SETTINGS, "memory_mb"),
        search=atlas_search,
        code=code_version("scripts/search_atlas.py"),
    message:
        "Searching pairs for all heads of study {wildcards.study} ({wildcards.way}, seed {wildcards.seed})"
    script:
        "../scripts/search_atlas.py"


# The same evaluations spent on swaps drawn at random, where both wait after the atlas itself. An
# input of the atlas, for the order alone, would not do: where it is made again Snakemake does not
# look whether what waits for it is there (`ancient`), and a new seed had no baseline.
use rule search_atlas as search_atlas_baseline with:
    wildcard_constraints:
        way="likely_swaps",
    priority: -1


# All heads of the model patched on the candidates of every n-th head.
rule verify_atlas:
    input:
        candidates=lambda wildcards: expand(
            "results/{{study}}/atlas/{{way}}/searches/{seed}.parquet",
            seed=atlas_setting(wildcards, "seeds"),
        ),
        model=model_ready,
    output:
        verified="results/{study}/atlas/{way}/verified/{part}.parquet",
    log:
        "results/{study}/logs/verify_atlas/{way}.{part}.log",
    benchmark:
        "results/{study}/benchmarks/verify_atlas/{way}.{part}.tsv"
    wildcard_constraints:
        part=r"\d+",
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=packed_model_memory,
        runtime=240,
        gpu=gpus,
    params:
        settings=settings(*MODEL_SETTINGS),
        parts=lambda wildcards: len(atlas_setting(wildcards, "seeds")),
        code=code_version("scripts/verify_atlas.py"),
    message:
        "Patching all heads of study {wildcards.study} on the atlas' candidates ({wildcards.way}, part {wildcards.part})"
    script:
        "../scripts/verify_atlas.py"


# For every head of the model its best pair.
rule merge_atlas:
    input:
        verified=atlas_parts("niches"),
        model=model_ready,
    output:
        atlas="results/{study}/atlas.parquet",
    log:
        "results/{study}/logs/merge_atlas.log",
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_version("scripts/merge_atlas.py"),
    message:
        "Putting the atlas of study {wildcards.study} together"
    script:
        "../scripts/merge_atlas.py"


# The same from swaps drawn at random, at as many evaluations.
use rule merge_atlas as merge_atlas_baseline with:
    input:
        verified=atlas_parts("likely_swaps"),
        model=model_ready,
    output:
        atlas="results/{study}/atlas/likely_swaps.parquet",
    log:
        "results/{study}/logs/merge_atlas_baseline.log",


# The atlas of every study that asks for one, and its baseline (make atlas).
ATLASES = [
    f"results/{study}/{name}.parquet"
    for study in CONFIG.studies
    if CONFIG.studies[study]["counterfactuals"]["atlas"]["seeds"]
    for name in ("atlas", "atlas/likely_swaps")
]


rule atlas:
    input:
        ATLASES,
        lost(ATLASES),
