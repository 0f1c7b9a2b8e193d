"""Prompt pairs: reading and checking their files, where they come from, what is doubtful in them.

Imports `files` and `errors`; no torch. Read `pair_files` first (every format that is read), then
`pair_checks` (which rows can be used in a model's tokenizer, and why not the others) and `buckets`
(pairs that share a batch, shards of a study). `hub` fetches data sets, `doubtful_pairs` finds what
passes every check and was probably meant otherwise, and `sets` are generators of the shipped pairs.
`quoting` is how messages show texts and rows.
"""
