"""Measures: one module for each word, from runs of the engine to numbers of heads.

Imports `engine`, `models`, `pairs`, `files`, `progress`. Read `columns` (the measures' names), then
`slopes` (f and g at given α), `curves`, `patching`, `integrated_gradients`, `interaction`,
`faithfulness`; below them `quadrature`, `pieces` and `jumps`. `tables` turns shards of pairs into
the tables of a study.
"""
