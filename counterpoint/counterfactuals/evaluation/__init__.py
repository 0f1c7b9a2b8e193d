"""What a pair is worth, measured: exactly, in stages, for one head or for all.

Imports `engine`, `measures`, `models`, the room `language` and the modules beside the rooms. Read
`head_path` (runs with one head on its way), `evaluated_pairs` and `exact_evaluation` (many pairs at
once), `all_heads` (what every head does on a pair), `heads_ahead` (how many do more than one),
`single_pair` (a pair by itself), `fresh_contexts` and `edit_transfer` (an edit in other contexts).
"""
