"""Measure what the first heads do to any answers, and to every token of the vocabulary."""

from pathlib import Path
from typing import Any

from _job import log, run
from _measurement import measurement
from _model import load


def main(snakemake: Any) -> None:
    """Call `counterpoint.measures.tables.answer_table.score_answers` on the study's first pairs."""
    from counterpoint.files.artifacts import read_table, write_table
    from counterpoint.measures.tables.answer_table import candidate_ids, score_answers
    from counterpoint.measures.tables.shards import cached_buckets
    from counterpoint.models.model_shape import read_heads
    from counterpoint.workflow.targets import choose_targets

    asked = snakemake.params.settings["answers"]
    pairs = read_table(snakemake.input.pairs)
    if asked["pairs"] != "all":
        pairs = pairs[pairs["pair"] < asked["pairs"]]
    shape = read_heads(Path(snakemake.input.model).parent)
    wanted = {"top": min(asked["heads"], len(shape.heads))}
    heads = choose_targets(wanted, shape, scores=snakemake.input.heads)
    heads += choose_targets(snakemake.params.heads, shape, key="report.heads")
    log.info("heads: %s", ", ".join(f"{layer}.{head}" for layer, head in heads))
    model = load(snakemake)
    key = f"studies.{snakemake.wildcards.study}.answers.candidates"
    candidates = candidate_ids(model, asked["candidates"], pairs, key)
    settings = measurement(snakemake)
    answers, tokens = score_answers(
        model,
        (cached for cached, _ in cached_buckets(model, pairs, settings.metric)),
        list(dict.fromkeys((layer, head) for layer, head in heads)),
        candidates,
        settings,
        tokens=asked["tokens"],
    )
    write_table(answers, snakemake.output.answers)
    write_table(tokens, snakemake.output.tokens)


if __name__ == "__main__":
    run(main, snakemake)
