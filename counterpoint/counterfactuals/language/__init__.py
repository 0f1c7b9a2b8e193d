"""Language: what is fluent, what is likely, and which tokens may be written at all.

Imports `models` and `engine`. Read `perplexity`, `perplexity_caps`, `readability`; `sampling` draws
tokens, `writable_tokens` forbids some, `opening_texts` are beginnings of many kinds.
"""
