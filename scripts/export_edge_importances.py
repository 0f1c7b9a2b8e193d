"""Export the scores of edges in the form that the leaderboard of MIB takes."""

from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.edge_importances.edge_importances`."""
    import json
    from pathlib import Path

    from counterpoint.files.artifacts import read_table, write_json
    from counterpoint.measures.edge_importances import edge_importances

    graph = json.loads(Path(snakemake.input.graph).read_text(encoding="utf-8"))
    scores = read_table(snakemake.input.scores)
    write_json(edge_importances(scores, graph, snakemake.wildcards.ranking), snakemake.output[0])


if __name__ == "__main__":
    run(main, snakemake)
