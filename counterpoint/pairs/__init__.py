"""Prompt pairs: reading and checking their files, where they come from, what is doubtful in them.

Imports `files` and `errors`; no torch. `pair_files` first; `hub` fetches data sets,
`doubtful_pairs` finds what passes every check and was probably meant otherwise, and `sets` are
generators of the shipped pairs.
"""
