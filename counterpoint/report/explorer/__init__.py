"""What the head explorer of a page shows, as one block of text that the page's script unpacks.

The explorer itself (maps, cards, keys) is a script: its source is ``reports/explorer/src``; what is
built of it stands beside the page's template. Here is its data, from `Results` (or `Comparison`)
alone, without torch.

In reading order: `packed_arrays` (a header and arrays as text, and back), `quantised_curves`
(curves in few bytes with a stated error), `predicted_arrays` (scores as what others do not say of
them), `kept_curves` (those of a study's file), `pair_choice`
(which pairs are shown one by one where there are many), `prompt_pieces` (prompts as tokens, effects
by position), `measure_arrays` (scores and intervals of every head), `atlas_measures`,
`head_partners` (who interacts with whom, through which edges), `composed_pairs`, `explorer_data`
(all of a study), `comparison_data` (several studies of a model, for the page that compares them).
"""
