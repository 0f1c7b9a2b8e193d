"""What a study will take, before it starts: jobs, core-hours, memory and disk.

`model_size` says how large a model is, `operations` how many operations each step asks of it,
`matrix_rate` how fast a
machine is, `costs` how long steps took where they were measured, `plan` puts them together.
"""
