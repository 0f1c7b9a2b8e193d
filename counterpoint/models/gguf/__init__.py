"""A GGUF file as a model folder: each tensor and setting placed, translated, or refused by name.

Imports the tokenizers' room and `errors`. `importer` first, then `translation` (what every
architecture has), `llama_families` and `other_families` (what each has besides), `reading` (a file
as it is).
"""
