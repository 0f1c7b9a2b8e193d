"""Pair sets: seeded generators of contrastive pairs, one module for each task.

A generator fits its pairs to a tokenizer: names and answers are single tokens in it, and the two
prompts of a pair have the same number of tokens. Imports `pair_checks` and `pair_files` of the room
above, `files` and `errors`. Read `pair_sets` (all sets by their names), then one of them: `ioi`,
`greater_than`, `capital_country`, `gendered_pronoun`, `subject_verb_agreement`. `generating` is
what all of them share, `first_names` what two do.
"""
