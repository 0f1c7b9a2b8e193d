"""A corpus of inputs that are wrong: configurations, files of pairs, models, command lines.

Each is refused with one message that names the place and a remedy, and changes nothing that is
there. `cases` says what a case is and how it is tried in this process, as the Snakefile reads it;
the other modules hold the cases. `test_bad_inputs` tries them all, `test_bad_inputs_run` a sample
with Snakemake and make themselves.
"""
