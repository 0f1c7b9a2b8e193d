"""Measures: one module for each word, from runs of the engine to numbers of heads.

Imports `engine`, `models`, `pairs`, `files`, `progress`. Read `curve_measures` (every measure of an
output curve, by the names that the tables' columns have) and `saturation`, then `slopes` (f and g
at given α), `curves`, `patching`, `integrated_gradients`, `interaction`, `faithfulness`,
`answer_effects` (of heads on any answer and on every token).

Below them lie `quadrature` (nodes and polynomials), `interpolation_errors` (how far those may be
off) and, for curves that jump, `piecewise_curves` (what such a curve is), `change_detection` and
`curve_tracing` (how it is found) and `jumps` (the same measures of it). `tables` turns shards of
pairs into the tables of a study. `measuring` does the same for pairs at hand, and is the public
`measure`, `curves`, `interaction_partners`, `answer_effects` and `token_effects`: `call_checks`
looks at what is asked, `measured_pairs` runs the pairs, `curve_arrays` is what curves come as.
`curve_arrays`, `curve_measures`, `saturation` and `quadrature` need no torch.
"""
