"""Validation: what composed pairs are worth by other means than they were found with.

Imports `evaluation` and what lies below it. `pair_validation` first; `pair_flags` (no torch) says
what a pair is flagged for.
"""
