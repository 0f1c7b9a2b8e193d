"""Search pairs for all heads of the model at once, from one seed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from _job import log, run
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.counterfactuals.atlas.search_atlas`; keep candidates and trace."""
    from counterpoint.counterfactuals.atlas import search_atlas
    from counterpoint.counterfactuals.configured import starts_of
    from counterpoint.counterfactuals.problem import Budget, Settings
    from counterpoint.counterfactuals.variants import VariantSettings
    from counterpoint.files import read_table, write_table

    settings, wanted = snakemake.params.settings, snakemake.params.search
    starts = starts_of(wanted, read_table(snakemake.input.pairs))
    # Beside the output, which Snakemake removes when a job fails; this stays and is resumed from.
    checkpoint = Path(snakemake.output.candidates).with_suffix(".checkpoint.json")
    depends = [snakemake.params.code, settings, wanted, [str(one) for one in starts]]
    found = search_atlas(
        load(snakemake),
        starts,
        Settings(
            budget=Budget(**wanted["budget"]),
            answer_in_prompt=wanted["answer_in_prompt"],
            memory_mb=settings["memory_mb"],
            method=VariantSettings(**wanted["settings"]),
        ),
        seed=int(snakemake.wildcards.seed),
        way=snakemake.wildcards.way,
        checkpoint=checkpoint,
        key=hashlib.sha256(json.dumps(depends).encode()).hexdigest(),
    )
    write_table(found.candidates(), snakemake.output.candidates)
    write_table(found.progress(), snakemake.output.trace)
    checkpoint.unlink(missing_ok=True)
    log.info("%d heads first, %d of them well ahead", *found.reached())


if __name__ == "__main__":
    run(main, snakemake)
