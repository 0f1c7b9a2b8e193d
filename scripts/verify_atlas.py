"""Patch all heads of the model on the candidates of an atlas for a part of the heads."""

from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.atlas.atlas_verification.verify`."""
    import pandas as pd

    from counterpoint.counterfactuals.atlas.atlas_verification import verify
    from counterpoint.files.artifacts import read_table, write_table

    table = verify(
        load(snakemake),
        pd.concat(map(read_table, snakemake.input.candidates), ignore_index=True),
        part=int(snakemake.wildcards.part),
        parts=snakemake.params.parts,
    )
    write_table(table, snakemake.output.verified)
    log.info("%d pairs, first on %d", len(table), int((table["rank"] == 1).sum()))


if __name__ == "__main__":
    run(main, snakemake)
