"""Say what a study will take, before it starts."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Call `counterpoint.workflow.planning.plan` with the study's settings, pairs and model."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.workflow.planning.costs import read_costs
    from counterpoint.workflow.planning.matrix_rate import best_rate
    from counterpoint.workflow.planning.model_size import read_size
    from counterpoint.workflow.planning.operations import pairs_of
    from counterpoint.workflow.planning.plan import Machine, advice, in_words, plan

    wanted, threads = snakemake.params, snakemake.threads
    settings, costs = wanted.settings, read_costs()
    rate_of_one = best_rate(1)
    rate = rate_of_one if threads == 1 else best_rate(threads)
    machine = Machine(wanted.cores, threads, rate_of_one, rate)
    size = read_size(Path(snakemake.input.model).parent, settings["dtype"])
    table = plan(
        settings,
        size,
        pairs_of(read_table(snakemake.input.pairs), settings["shard_size"]),
        machine,
        costs,
        targets=wanted.targets,
        keeps_activations=wanted.keeps_activations,
    )
    write_table(table, snakemake.output.plan)
    log.info(
        "with %.0f · 10⁹ operations per second in %d threads, as measured here\n%s",
        machine.rate / 1e9,
        threads,
        "\n".join([in_words(table, machine), *advice(table, costs, wanted.limits)]),
    )


if __name__ == "__main__":
    run(main, snakemake)
