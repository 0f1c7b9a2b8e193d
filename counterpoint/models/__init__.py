"""Language models: getting one, loading it, naming its modules; and what an architecture allows.

Imports `files` and `errors`. Read `load` first (`LanguageModel` is what every other room is given),
then `architecture` (which modules of a decoder are what, or why none is known) and `fetch`.
`checkpoint` compares weights with what a configuration describes; `tokenizers` and `gguf` are rooms
of their own. `weight_files` and `beginning_token` need no torch.
"""
