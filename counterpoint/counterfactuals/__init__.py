"""Composing the prompt pairs on which one attention head matters.

One function serves every method::

    from counterpoint.counterfactuals.problem import Budget, Settings, Start, Target
    from counterpoint.counterfactuals.methods.search import METHODS, search

    found = search(
        model,                                # counterpoint.models.load.LanguageModel
        "fluent",                             # a key of METHODS
        Target(layer=23, head=3),
        [Start("The cat sat", "The dog sat"), Start("A lone prompt")],   # or one text
        Settings(Budget(evaluations=2000)),
        seed=0,
    )
    found.archive, found.trace                # two tables

`archive.merge` joins the archives of several seeds, and `pair_validation.validate` says what the
pairs of an archive are worth by other means than they were found with.

Imports `measures`, `engine`, `models` and what lies below them. Read `problem` (the words),
`objectives` (the four objectives, and the sign: LD change is −AP in noising), `hypervolume`
(dominance, progress), `archive` (what is kept), `pair_quality` and `head_ranks` (what a pair is
worth to a head), `pair_columns` (a pair in a table), `setting_fields` (how a setting is written
once for dataclass, schema and config). Then the rooms: `language` (what is fluent), `evaluation`
(how pairs are measured), `methods` (the searches), `atlas` (all heads at once), `validation`,
`comparison` (method beside method). `composing` calls them for the public names `compose` and
`validate`.
"""
