"""A GGUF file as a model folder: every tensor and every setting is placed, translated, or refused
by name.

`shards` names the files that belong together, `reading` reads them and keeps account of what was
used, `rotary` translates the rotary settings, `tables` says where the tensors of each architecture
go and `families` and `further` what its settings mean (`plan` is what they share, `architectures`
the list of them), `importer` writes the folder.

Nothing is imported here, so that the names of a split file can be had without torch.
"""
