"""Run both prompts of every pair of a shard and keep what the measurements share."""

from typing import Any

from _job import run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.shards.cache_shard`."""
    from counterpoint.files.artifacts import read_table, write_table, write_tensors
    from counterpoint.measures.tables.shards import cache_shard
    from counterpoint.pairs.buckets import shard

    settings = snakemake.params.settings
    number, size = int(snakemake.wildcards.shard), snakemake.params.shard_size
    pairs = shard(read_table(snakemake.input.pairs), number, size)
    activations, baseline = cache_shard(load(snakemake), pairs, settings["metric"])
    write_table(baseline, snakemake.output.baseline)
    write_tensors(activations, snakemake.output.activations)


if __name__ == "__main__":
    run(main, snakemake)
