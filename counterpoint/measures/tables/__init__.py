"""From a shard of pairs to its tables of scores, and from all shards to those of the study.

One module for each job of the workflow, so that a change of one measurement repeats no other.
`shards` first. `merging` needs no torch.
"""
