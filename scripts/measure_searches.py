"""Measure what all searches for one head came to."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `search_outcomes.measure_searches` on archives and traces."""
    from counterpoint.counterfactuals.comparison.search_outcomes import Search, measure_searches
    from counterpoint.counterfactuals.language.perplexity import mean_over
    from counterpoint.counterfactuals.methods.search import study_prompts
    from counterpoint.counterfactuals.problem import Target
    from counterpoint.files.artifacts import read_table, write_table

    wanted = snakemake.params.search
    runs = [(method, seed) for method in wanted["methods"] for seed in wanted["seeds"]]
    searches = [
        Search(method, seed, read_table(archive), read_table(trace))
        for (method, seed), archive, trace in zip(
            runs, snakemake.input.archives, snakemake.input.traces, strict=True
        )
    ]
    model = load(snakemake)
    study_loss = mean_over(model, study_prompts(read_table(snakemake.input.pairs)))
    log.info("the study's prompts have a mean loss of %.3f nats per token", study_loss)
    table = measure_searches(
        model,
        Target(int(snakemake.wildcards.layer), int(snakemake.wildcards.head)),
        searches,
        study_loss,
        in_depth=wanted["in_depth"],
        transfers=wanted["transfers"],
        memory_mb=snakemake.params.settings["memory_mb"],
    )
    write_table(table, snakemake.output.measured)
    log.info("%d searches, target first on %d", len(table), int((table["best_rank"] == 1).sum()))


if __name__ == "__main__":
    run(main, snakemake)
