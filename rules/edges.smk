# What senders do through the query, key or value of the first heads, and straight on the logits.
rule compute_edges:
    input:
        activations=rules.cache_activations.output.activations,
        # The study's scores say which heads are its first.
        heads="results/{study}/heads.parquet",
        model=model_ready,
    output:
        scores="results/{study}/shards/{shard}/edges.parquet",
    log:
        "results/{study}/logs/compute_edges/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/compute_edges/{shard}.tsv"
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=model_memory,
        gpu=gpus,
        runtime=240,
    params:
        settings=settings(*MODEL_SETTINGS, *MEASUREMENT_SETTINGS, "edges"),
        code=code_version("scripts/compute_edges.py"),
    message:
        "Computing the edges of study {wildcards.study}, shard {wildcards.shard}"
    script:
        "../scripts/compute_edges.py"


rule merge_edges:
    input:
        scores=of_shards("edges.parquet"),
    output:
        "results/{study}/edges.parquet",
    log:
        "results/{study}/logs/merge_edges.log",
    benchmark:
        "results/{study}/benchmarks/merge_edges.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        # As measures.tables.edge_table.KEYS, which is not imported here because it imports torch.
        columns=[
            "pair",
            "direction",
            "receiver_layer",
            "receiver_head",
            "role",
            "sender_layer",
            "sender_head",
        ],
        settings=settings("directions"),
        code=code_version("scripts/merge_tables.py"),
    message:
        "Merging the edges of study {wildcards.study}"
    script:
        "../scripts/merge_tables.py"
