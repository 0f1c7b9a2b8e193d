"""Tokenizers: the ids that a model's own files give to a text, whatever class they name.

Imports `errors` alone. `tokenizer` first, then `special_tokens` and `tokenizer_files`;
`slow_tokenizers` makes one of older files with the parts of `byte_level` and `sentencepiece_bpe`.
"""
