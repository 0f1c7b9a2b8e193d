"""Find the circuits of a study, on its first pairs together."""

from typing import Any

from _job import log, run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.circuit_table.find_circuits`."""
    from counterpoint.files.artifacts import read_table, write_json, write_table
    from counterpoint.measures.tables.circuit_rows import first_pairs
    from counterpoint.measures.tables.circuit_table import find_circuits, settings_of
    from counterpoint.statistics.resampling import Settings

    given, made, circuit = snakemake.input, snakemake.output, snakemake.params.circuit
    found = find_circuits(
        load(snakemake),
        first_pairs(read_table(given.pairs), circuit["pairs"]),
        read_table(given.heads),
        measurement(snakemake),
        settings_of(circuit),
        Settings(**snakemake.params.statistics),
    )
    for table, path in (
        (found.members, made.members),
        (found.nodes, made.nodes),
        (found.faithfulness, made.faithfulness),
        (found.curves, made.curves),
        (found.areas, made.areas),
    ):
        write_table(table, path)
    write_json(found.graph, made.graph)
    log.info("%d circuits run on each of %d pairs", found.evaluations, found.n_pairs)


if __name__ == "__main__":
    run(main, snakemake)
