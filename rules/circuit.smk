# Small sets of nodes, or of edges, that answer as the whole model does, for a study that asks for
# them.


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
            labels={"table": "Circuits"},
        ),
        nodes="results/{study}/circuit_nodes.parquet",
        faithfulness="results/{study}/circuit_faithfulness.parquet",
        curves="results/{study}/circuit_curves.csv",
        areas=report(
            "results/{study}/circuit_areas.csv",
            caption="../reports/captions/circuit_areas.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Areas CPR and CMD"},
        ),
        graph="results/{study}/circuit_graph.json",
    log:
        "results/{study}/logs/find_circuits.log",
    benchmark:
        "results/{study}/benchmarks/find_circuits.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS),
        circuit=circuit_settings(
            "pairs", "nodes", "recovered", "max_nodes", "methods", "candidates"
        ),
        statistics=circuit_statistics,
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


# The same of edges: a job of its own, so that a change of what is asked of one level leaves the
# circuits of the other.
rule find_edge_circuits:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        members=report(
            "results/{study}/circuit_edges.parquet",
            caption="../reports/captions/circuit_edges.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Circuits of edges"},
        ),
        scores="results/{study}/circuit_edge_scores.parquet",
        faithfulness="results/{study}/circuit_edge_faithfulness.parquet",
        curves="results/{study}/circuit_edge_curves.csv",
        areas=report(
            "results/{study}/circuit_edge_areas.csv",
            caption="../reports/captions/circuit_edge_areas.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Areas CPR and CMD of edges"},
        ),
        graph="results/{study}/circuit_edge_graph.json",
    log:
        "results/{study}/logs/find_edge_circuits.log",
    benchmark:
        "results/{study}/benchmarks/find_edge_circuits.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS),
        circuit=circuit_settings("pairs", "recovered", "edge_methods", "max_edges"),
        statistics=circuit_statistics,
        code=code_version("scripts/find_edge_circuits.py"),
    message:
        "Finding circuits of edges of study {wildcards.study}"
    script:
        "../scripts/find_edge_circuits.py"


# The scores of edges in the form that the leaderboard of MIB takes.
rule export_edge_importances:
    input:
        scores="results/{study}/circuit_edge_scores.parquet",
        graph="results/{study}/circuit_edge_graph.json",
    output:
        "results/{study}/importances/edges/{ranking}.json",
    log:
        "results/{study}/logs/export_edge_importances/{ranking}.log",
    wildcard_constraints:
        ranking="eap|eap_ig",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_version("scripts/export_edge_importances.py"),
    message:
        "Exporting the importances of edges by {wildcards.ranking} of study {wildcards.study}"
    script:
        "../scripts/export_edge_importances.py"
