"""Choose the heads for which pairs are searched."""

from pathlib import Path
from typing import Any

from _job import log, run


def main(snakemake: Any) -> None:
    """Write a list of [layer, head]: the configured ones, the first by |AP|, or random ones."""
    from counterpoint.files.artifacts import write_json
    from counterpoint.models.model_shape import read_heads, read_shape
    from counterpoint.workflow.targets import choose_targets

    wanted = snakemake.params.settings["targets"]
    # The table of scores knows which heads there are; else the model is asked.
    read = read_shape if "top" in wanted or not wanted else read_heads
    heads = choose_targets(
        wanted,
        read(Path(snakemake.input.model).parent),
        scores=next((path for path in snakemake.input if path.endswith("heads.parquet")), None),
        key=f"studies.{snakemake.wildcards.study}.counterfactuals.targets",
    )
    write_json(heads, snakemake.output[0])
    log.info("targets: %s", ", ".join(f"{layer}.{head}" for layer, head in heads) or "none")


if __name__ == "__main__":
    run(main, snakemake)
