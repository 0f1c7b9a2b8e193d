"""Statistics over heads and pairs: from tables alone, without a model.

Imports `errors` and `glossary`; no torch. Read `panel` (a table of heads as arrays), `resampling`
(intervals and permutations), `templates` (what is drawn whole), `coefficients` and
`resampled_coefficients`, then what is asked of one study: `correlations`, `stability`,
`consistency_over_pairs` (how steady heads are, which of them estimates miss), `sample_sizes` (how
many pairs the first heads take), `variance_components` (of templates, pairs and directions),
`disagreement`, `score_faithfulness`, `interaction_partners`, `edges_over_pairs`, `position_sums`,
`circuit_areas`, `beginning_agreement`; `score_agreement` (how far estimates of AP are right) and
`one_direction_heads`. The claims: `claim_verdicts` has the rule by which a number is *supported*,
*refuted* or *undecided*, `claim_quantities` the numbers that each claim rests on, `claims` the
table. A study of any number of pairs is computed by `study_statistics`, from sums over them:
`pair_coefficients`, `pair_correlations` and `pair_disagreement` have the numbers of many pairs at
once, `means_over_pairs` what is drawn of their sums, `sampled_pairs` which pairs stand for all
where heads are drawn (`drawn_coefficients`) or rankings compared. Several studies: `studies` (side
by side), `ranking_overlaps` (do they use the same heads), `meta_analysis` (what they say together).
`false_discovery` adjusts p-values.
"""
