"""The engine: run only what a change of one component can reach.

Imports `models` and `errors`. Read `activations` (what is kept of both runs) and
`activation_caching` (how it is made), `laid_out_runs` (that of prompts of unequal length, in the
positions of one), `head_outputs` (single heads out of it), then `suffix` (runs
of what lies behind a change) with `evaluation_rows` (what is evaluated), `replay` (calling one
block at a time), `prefix_cache` (keys and values of the shared prefix) and `unembedding` (from the
last block to logits); `whole_answers` is the engine of answers of several tokens, a sum over
`answer_readings`; `position_views` are engines for changes at one position alone;
`attention_parts` takes an attention apart into queries, keys, values and patterns; `sender_changes`
are changes of the residual stream that one sender makes, `receiver_inputs` what heads and MLPs
compute where each reads a stream of its own, `frozen_norms` norms that keep their scale.
`selfcheck` compares the engine with the model's own passes; `metrics` is what is read from a run;
`rounding`, `expert_routing`, `kinks` and `finite_values` say what its
numbers can be trusted for; `linear` is the same products sooner; `library_errors` puts what a
library raises into words.
"""
