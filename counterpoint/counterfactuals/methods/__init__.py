"""Methods of search: each from where it starts to an archive of pairs, behind one interface.

Imports the rooms beside it but `atlas`, `validation`, `comparison`. Read `method` (what a method
is) and `search` (one function serves all), then `fluent`, `evolution`, `descent`, `baselines`,
`ablations`.
"""
