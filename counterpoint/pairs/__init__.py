"""Prompt pairs: reading and checking their files, where they come from, what is doubtful in them.

Imports `files` and `errors`; no torch. Read `pair_files` first (every format that is read), then
`pair_checks` (which rows can be used in a model's tokenizer, and why not the others), with
`answer_tokens` for answers of several tokens, and `buckets` (pairs that share a batch, shards of a
study). `spans` are names for parts of prompts, `alignment` says which positions of prompts of
unequal length belong together. `hub` fetches data sets, `doubtful_pairs` finds what passes every
check and was probably meant otherwise, and `sets` are generators of the shipped pairs.
`bad_rows` is what is said of rows that cannot be used, `quoting` how messages show texts and rows.
`given_pairs` takes pairs in whatever form a caller
has them, and the room itself can be called for it: ``counterpoint.pairs([...])``.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """This module, which is a public name of the package as well."""

    def __call__(self, source: Any) -> Any:
        """Take pairs of prompts in any form and give them as one table: `given_pairs.pairs`."""
        # By its name as a text: whoever imports from this room does not depend on that module.
        return import_module(f"{__name__}.given_pairs").pairs(source)


sys.modules[__name__].__class__ = _Room
