"""A GGUF file as a model folder: each tensor and setting placed, translated, or refused by name.

Imports the tokenizers' room, `files` and `errors`. Read `importer` first, then `translation` (what
every architecture has), `llama_families` and `other_families` (what each has besides; listed in
`gguf_architectures`) with `rotary_settings` and `tensor_names`, then `reading` (a file as it is; in
several parts: `split_files`). `gguf_tokenizer` makes its tokenizer, with `gguf_patterns` and, by
itself, `gguf_metadata`.
"""
