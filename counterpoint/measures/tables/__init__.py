"""From a shard of pairs to its tables of scores, and from all shards to those of the study.

One module for each job of the workflow, so that a change of one measurement repeats no other.
`shards` first (what all tables share), then `curve_table`, `integrated_gradients_table`,
`faithfulness_table`, `interaction_table` and `edge_table`: each is the table of the measure of its
name. `merging` puts the shards' tables together, and needs no torch.
"""
