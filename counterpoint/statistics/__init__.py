"""Statistics over heads and pairs: from tables alone, without a model.

Imports `errors`; no torch. Read `panel` (a table of heads as arrays), `resampling` (intervals and
permutations) and `coefficients`, then what is asked: `correlations`, `stability`, `disagreement`,
`score_faithfulness`, `interaction_partners`; `verdicts` holds the rules by which `claims` are
supported or refuted, `studies` and `meta_analysis` put several studies side by side.
"""
