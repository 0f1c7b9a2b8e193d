"""Validation: what composed pairs are worth by other means than they were found with.

Imports `evaluation` and what lies below it. `pair_validation` first; `validation_depth` (how much
is done), `pair_flags` (what a pair is flagged for) and `joined_validations` (the tables of several
methods as one) need no torch.
"""
