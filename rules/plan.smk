# What the studies will take, before anything is measured (make plan).


rule plan:
    input:
        expand("results/{study}/plan.csv", study=CONFIG.studies),


localrules:
    plan,


# The pairs are read and tokenised before, so that the plan knows how many are left, and how long.
rule plan_study:
    input:
        pairs="results/{study}/pairs.parquet",
        model=model_ready,
    output:
        plan="results/{study}/plan.csv",
    log:
        "results/{study}/logs/plan_study.log",
    conda:
        "../envs/model.yaml"
    threads: model_threads
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wildcards: CONFIG.studies[wildcards.study],
        targets=lambda wildcards: number_of_targets(
            counterfactual_setting(wildcards, "targets")
        ),
        keeps_activations=kept_or_temp is str,
        cores=cores_at_hand,
        limits=lambda wildcards: {
            one.name: one.resources["runtime"].value
            for one in workflow.rules
            if "runtime" in one.resources
        },
        code=code_version("scripts/plan_study.py"),
    message:
        "Planning the study {wildcards.study}"
    script:
        "../scripts/plan_study.py"
