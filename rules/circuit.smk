# Small sets of nodes that answer as the whole model does, for a study that asks for them.


# All pairs at once: a circuit belongs to the study. They are run once more, so that no activations
# of shards are kept for it.
rule find_circuits:
    input:
        pairs="results/{study}/pairs.parquet",
        heads="results/{study}/heads.parquet",
        model=model_ready,
    output:
        members=report(
            "results/{study}/circuit.parquet",
            caption="../reports/captions/circuit.rst",
            category="{study}",
            subcategory="Tables",
            labels={"figure": "Circuits"},
        ),
        nodes="results/{study}/circuit_nodes.parquet",
        faithfulness="results/{study}/circuit_faithfulness.parquet",
        curves="results/{study}/circuit_curves.csv",
        areas=report(
            "results/{study}/circuit_areas.csv",
            caption="../reports/captions/circuit_areas.rst",
            category="{study}",
            subcategory="Tables",
            labels={"figure": "Areas CPR and CMD"},
        ),
        graph="results/{study}/circuit_graph.json",
    log:
        "results/{study}/logs/find_circuits.log",
    benchmark:
        "results/{study}/benchmarks/find_circuits.tsv"
    conda:
        "../envs/model.yaml"
    threads: 4
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "circuit"),
        # Of the statistics only what its intervals use.
        statistics=lambda wildcards: {
            key: CONFIG.studies[wildcards.study]["statistics"][key]
            for key in ("bootstrap_samples", "confidence", "seed")
        },
        code=code_version("scripts/find_circuits.py"),
    message:
        "Finding circuits of study {wildcards.study}"
    script:
        "../scripts/find_circuits.py"


# The scores of nodes in the form that the leaderboard of MIB takes.
rule export_importances:
    input:
        nodes="results/{study}/circuit_nodes.parquet",
        graph="results/{study}/circuit_graph.json",
    output:
        "results/{study}/importances/{ranking}.json",
    log:
        "results/{study}/logs/export_importances/{ranking}.log",
    wildcard_constraints:
        ranking="ap|atp|ig_joint|eap_ig_inputs",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_version("scripts/export_importances.py"),
    message:
        "Exporting the importances of nodes by {wildcards.ranking} of study {wildcards.study}"
    script:
        "../scripts/export_importances.py"
