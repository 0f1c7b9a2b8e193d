"""Every figure: functions from tables to matplotlib figures, in one theme.

Imports `statistics`, and names of classes from `counterfactuals`; no torch. `study_figures` first.
"""
