"""A GGUF file as a model folder: every tensor and every setting is placed, translated, or refused
by name.

`shards` names the files that belong together, `reading` reads them and keeps account of what was
used, `rotary` translates the rotary settings, `tables` and `architectures` say for each
architecture what its tensors and settings mean, `importer` writes the folder.

Nothing is imported here, so that the names of a split file can be had without torch.
"""
