"""Measures: one module for each word, from runs of the engine to numbers of heads.

Imports `engine`, `models`, `pairs`, `files`, `progress`. Read `curve_measures` (every measure of an
output curve, by the names that the tables' columns have) and `saturation`, then `slopes` (f and g
at given α), `curves`, `patching`, `joint_slopes` (the same while a whole layer moves),
`integrated_gradients`, `interaction`, `faithfulness`; then
`positions` (where in the prompt) with `position_curves` (f and g there), `roles` (a head's query,
key, value and pattern alone) with `attention_patterns` (what it looks at), `edges` (from a sender
into a head's query, key or value) and `edge_attribution` (the same to first order),
`answer_effects` (of heads on any answer and on every token). Circuits: `circuit_nodes` (what they
are made of), `held_nodes` (one run of one), `circuit_evaluation` (what they answer),
`node_gradients`, `node_scores` and `circuit_search` (how they are chosen), `node_importances` (the
form that a benchmark takes). The same of edges: `circuit_edges`, `held_edges`,
`edge_circuit_evaluation`, `edge_scores`, `edge_circuit_search`, `edge_importances`;
`known_circuits` is what runs of both have alike. Scores of other papers are `second_order`,
`input_path_gradients`, `relevance` and `gradient_dropout`; the last three are made of
`suffix_gradients`.

Below them lie `quadrature` (nodes and polynomials), `interpolation_errors` (how far those may be
off) and, for curves that jump, `piecewise_curves` (what such a curve is), `change_detection` and
`curve_tracing` (how it is found) and `jumps` (the same measures of it). `tables` turns shards of
pairs into the tables of a study. `measuring` does the same for pairs at hand, and is the public
`measure`, `curves` and `interaction_partners`; likewise `measuring_positions`,
`measuring_position_curves`, `measuring_roles`, `measuring_edges`, `measuring_answers`,
`finding_circuits` and `finding_edge_circuits`. `call_checks` looks at what is asked,
`measured_pairs` runs the pairs, `curve_arrays` and `pattern_arrays` are what curves and patterns
come as. These two, `curve_measures`, `saturation`, `quadrature`, `circuit_nodes`, `circuit_edges`,
`node_importances` and `edge_importances` need no torch.
"""
