# The output curves f(α) of every head, their gradients, ranges and end points (AP, AtP).
rule compute_curves:
    input:
        activations=rules.cache_activations.output.activations,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/curves.parquet",
        curves="results/{study}/shards/{shard}/curves.safetensors",
    log:
        "results/{study}/logs/compute_curves/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/compute_curves/{shard}.tsv"
    wildcard_constraints:
        study=MEASURED_NAMES,
    # As in activations.smk.
    priority: 2
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "curves"),
        code=code_version("scripts/compute_curves.py"),
    message:
        "Computing the output curves of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/compute_curves.py"


# Integrated gradients with all heads of a layer moving together.
rule integrate_gradients:
    input:
        activations=rules.cache_activations.output.activations,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/integrated_gradients.parquet",
    log:
        "results/{study}/logs/integrate_gradients/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/integrate_gradients/{shard}.tsv"
    wildcard_constraints:
        study=MEASURED_NAMES,
    priority: 2
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(
            *MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "integrated_gradients"
        ),
        code=code_version("scripts/integrate_gradients.py"),
    message:
        "Integrating gradients of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/integrate_gradients.py"


# The tables of the study from those of its shards.
rule merge_scores:
    input:
        baseline=of_shards("baseline.parquet"),
        scores=of_shards("curves.parquet"),
        curves=of_shards("curves.safetensors"),
        gradients=of_shards("integrated_gradients.parquet"),
        baselines=baseline_scores,
    output:
        baseline="results/{study}/baseline.parquet",
        heads=report(
            "results/{study}/heads.parquet",
            caption="../reports/captions/heads.rst",
            category=study_of,
            subcategory="Tables",
            labels=lambda wildcards: {"table": f"Heads{of_which(wildcards)}"},
        ),
        curves="results/{study}/curves.safetensors",
    log:
        "results/{study}/logs/merge_scores.log",
    benchmark:
        "results/{study}/benchmarks/merge_scores.tsv"
    wildcard_constraints:
        study=MEASURED_NAMES,
    priority: 2
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=settings("directions", "metric"),
        code=code_version("scripts/merge_scores.py"),
    message:
        "Merging the scores of study {wildcards.study}"
    script:
        "../scripts/merge_scores.py"


# The same curves for the MLP layers, where a study asks for them.
rule compute_mlp_curves:
    input:
        activations=rules.cache_activations.output.activations,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/mlps.parquet",
    log:
        "results/{study}/logs/compute_mlp_curves/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/compute_mlp_curves/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "curves"),
        code=code_version("scripts/compute_mlp_curves.py"),
    message:
        "Computing the output curves of MLPs of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/compute_mlp_curves.py"


rule merge_mlps:
    input:
        scores=of_shards("mlps.parquet"),
    output:
        "results/{study}/mlps.parquet",
    log:
        "results/{study}/logs/merge_mlps.log",
    benchmark:
        "results/{study}/benchmarks/merge_mlps.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "layer"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the scores of MLPs of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"


# What the first heads by each score recover, patched together.
rule measure_faithfulness:
    input:
        activations=rules.cache_activations.output.activations,
        curves=rules.compute_curves.output.scores,
        gradients=rules.integrate_gradients.output.scores,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/faithfulness.parquet",
    log:
        "results/{study}/logs/measure_faithfulness/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/measure_faithfulness/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS),
        code=code_version("scripts/measure_faithfulness.py"),
    message:
        "Measuring the faithfulness of the scores of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/measure_faithfulness.py"


rule merge_faithfulness:
    input:
        scores=of_shards("faithfulness.parquet"),
    output:
        report(
            "results/{study}/faithfulness.parquet",
            caption="../reports/captions/faithfulness.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Faithfulness of the scores"},
        ),
    log:
        "results/{study}/logs/merge_faithfulness.log",
    benchmark:
        "results/{study}/benchmarks/merge_faithfulness.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "score", "k"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the faithfulness of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"


# With whom the heads interact whose IG joint and AP differ most.
rule find_partners:
    input:
        activations=rules.cache_activations.output.activations,
        curves=rules.compute_curves.output.scores,
        gradients=rules.integrate_gradients.output.scores,
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/interaction.parquet",
    log:
        "results/{study}/logs/find_partners/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/find_partners/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "interaction"),
        code=code_version("scripts/find_partners.py"),
    message:
        "Finding partners of the heads of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/find_partners.py"


rule merge_interaction:
    input:
        scores=of_shards("interaction.parquet"),
    output:
        report(
            "results/{study}/interaction.parquet",
            caption="../reports/captions/interaction.rst",
            category="{study}",
            subcategory="Tables",
            labels={"table": "Interaction with single partners"},
        ),
    log:
        "results/{study}/logs/merge_interaction.log",
    benchmark:
        "results/{study}/benchmarks/merge_interaction.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        columns=["pair", "direction", "layer", "head", "partner"],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the interactions of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"
