"""What a study will take, before it starts: jobs, core-hours, memory and disk.

`size` says how large a model is, `work` how many operations each step asks of it, `costs` how long
steps took where they were measured, `plan` puts them together.
"""
