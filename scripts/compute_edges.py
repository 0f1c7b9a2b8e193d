"""Compute the edges into the receivers of a study, for a shard."""

from typing import Any

from _job import log, run
from _measurement import chosen_pairs, measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.edge_table.score_edges` with the heads asked for."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.measures.call_checks import checked_heads
    from counterpoint.measures.tables.edge_table import first_receivers, no_rows, score_edges

    settings = dict(snakemake.params.settings["edges"])
    if not chosen_pairs(snakemake, settings["pairs"]):
        write_table(no_rows(), snakemake.output.scores)
        return
    model = load(snakemake)
    receivers = settings.pop("receivers")
    if "top" in receivers:
        receivers = first_receivers(read_table(snakemake.input.heads), receivers["top"])
    elif receivers:
        receivers = checked_heads(model, receivers)
    log.info("receivers: %s", ", ".join(f"{layer}.{head}" for layer, head in receivers) or "none")
    table = score_edges(
        model, snakemake.input.activations, measurement(snakemake), receivers, **settings
    )
    write_table(table, snakemake.output.scores)


if __name__ == "__main__":
    run(main, snakemake)
