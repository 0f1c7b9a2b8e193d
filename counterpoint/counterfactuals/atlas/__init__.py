"""The atlas: for every head of the model, the pair on which it matters most.

Imports `methods` and what lies below it. Read `atlas_search`, `atlas_verification` (all heads
patched on what was found), `atlas_table`; `atlas_classes` (no torch) says how far each head came.
"""
