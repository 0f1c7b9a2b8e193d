"""Measures: one module for each word, from runs of the engine to numbers of heads.

Imports `engine`, `models`, `pairs`, `files`, `progress`. Read `curve_measures` (every measure of an
output curve, by the names that the tables' columns have) and `saturation`, then `slopes` (f and g
at given α), `curves`, `patching`, `integrated_gradients`, `interaction`, `faithfulness`. Scores of
other papers are `second_order`, `input_path_gradients`, `relevance` and `gradient_dropout`; the
last three are made of `suffix_gradients`.

Below them lie `quadrature` (nodes and polynomials), `interpolation_errors` (how far those may be
off) and, for curves that jump, `piecewise_curves` (what such a curve is), `change_detection` and
`curve_tracing` (how it is found) and `jumps` (the same measures of it). `tables` turns shards of
pairs into the tables of a study. `measuring` does the same for pairs at hand, and is the public
`measure`, `curves` and `interaction_partners`: `call_checks` looks at what is asked,
`measured_pairs` runs the pairs, `curve_arrays` is what curves come as. `curve_arrays`,
`curve_measures`, `saturation` and `quadrature` need no torch.
"""
