"""From a shard of pairs to its tables of scores, and from all shards to those of the study.

One module for each job of the workflow, so that a change of one measurement repeats no other.
`shards` first (what all tables share), then `curve_table`, `integrated_gradients_table`,
`faithfulness_table`, `interaction_table`, `position_table`, `position_curve_table`, `role_table`
and `edge_table`: each is the table of the measure of its name; `baseline_score_table` holds the
scores of other papers. `pattern_file` records attention patterns, and `answer_table` what the first
heads do to other answers, in one job for a study's first pairs; `circuit_table` and
`edge_circuit_table` have no shards either, since a circuit belongs to a study; `circuit_rows` is
what they have alike. `merging` puts the shards' tables together, and needs no torch.
"""
