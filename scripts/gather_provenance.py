"""Record where the results of a study come from."""

from pathlib import Path
from typing import Any

from _job import run


def main(snakemake: Any) -> None:
    """Call `counterpoint.workflow.provenance.collect`."""
    from counterpoint.files.artifacts import write_json
    from counterpoint.workflow.provenance import collect

    record = collect(
        snakemake.wildcards.study,
        snakemake.params.settings,
        model_provenance=snakemake.input.model,
        benchmarks=snakemake.params.benchmarks,
        checkout=Path(snakemake.scriptdir).parent,
        beginning=snakemake.input.beginning,
        shards=snakemake.params.shards,
    )
    write_json(record, snakemake.output.provenance)


if __name__ == "__main__":
    run(main, snakemake)
