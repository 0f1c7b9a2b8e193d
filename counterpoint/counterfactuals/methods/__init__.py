"""Methods of search: each from where it starts to an archive of pairs, behind one interface.

Imports the rooms beside it but `atlas`, `validation`, `comparison`. Read `method` (what a method
is), `method_settings` (every default; no torch) and `search` (one function serves all), then the
methods: `fluent`, `evolution`, `descent`, `baselines`, `ablations`. What they are made of:
`proposals` (what the model itself would write), `continuous_pairs` (pairs as embeddings, PEZ),
`variants` (prompts that differ in a token), `first_order_estimates` (what all heads do on them),
`candidate_niches` (the best pairs of a head), `start_choice` (which sentences promise most),
`edit_transfer_trial` (may an edit work elsewhere), `search_checkpoints` (resuming).
"""
