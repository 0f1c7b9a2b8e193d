"""Export the scores of nodes in the form that the leaderboard of MIB takes."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.node_importances.importances`."""
    import json
    from pathlib import Path

    from counterpoint.files.artifacts import read_table, write_json
    from counterpoint.measures.node_importances import importances

    graph = json.loads(Path(snakemake.input.graph).read_text(encoding="utf-8"))
    nodes = read_table(snakemake.input.nodes)
    write_json(importances(nodes, graph, snakemake.wildcards.ranking), snakemake.output[0])


if __name__ == "__main__":
    run(main, snakemake)
