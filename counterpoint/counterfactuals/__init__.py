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
pairs of an archive are worth by other means than they were found with. Where to read on: `problem`
has the words, `objectives` the four objectives, `evaluation` how pairs are measured, `archive` what
is kept; each method has a module of its own (`descent`, `evolution`, `fluent`, `baselines`).
`atlas` searches for all heads at once. `composing` is the public `compose` and `validate`.
"""
