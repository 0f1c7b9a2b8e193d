# Counterpoint: how each attention head moves a language model's answer between two prompts.
# Rules stand in rules/, what they call in scripts/ and counterpoint/, settings in config.yaml.
from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "reports/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/models.smk"
include: "rules/pairs.smk"
include: "rules/activations.smk"
include: "rules/baselines.smk"
include: "rules/attribution.smk"
include: "rules/roles.smk"
include: "rules/edges.smk"
include: "rules/positions.smk"
include: "rules/circuit.smk"
include: "rules/answers.smk"
include: "rules/statistics.smk"
include: "rules/counterfactuals.smk"
include: "rules/methods.smk"
include: "rules/atlas.smk"
include: "rules/report.smk"
include: "rules/comparison.smk"
include: "rules/plan.smk"


localrules:
    all,
    fetch_model,
    fetch_pairs,


REPORTS = expand("results/{study}/report.html", study=CONFIG.studies)


rule all:
    default_target: True
    input:
        REPORTS,
        COMPARED,
        lost([*REPORTS, *COMPARED]),


onstart:
    begin_run()


onsuccess:
    end_run(well=True)


onerror:
    end_run(well=False)
