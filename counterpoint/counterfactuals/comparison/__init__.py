"""Methods of search side by side.

Imports `evaluation` and what lies below it. `search_outcomes` measures what each search came to,
`method_comparison` (no torch) sets the methods against each other.
"""
