"""What a pair is worth, measured: exactly, in stages, for one head or for all.

Imports `engine`, `measures`, `models` and this room's neighbours `language`, `problem`, `archive`.
Read `head_path` (runs with one head on its way), `exact_evaluation` (many pairs at once),
`all_heads`, `single_pair` (a pair by itself), `transfer` (an edit in other contexts).
"""
