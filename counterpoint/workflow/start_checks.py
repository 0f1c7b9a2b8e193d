"""What can be known before a run removes anything, asked of the model's own tokenizer and of torch.

Snakemake removes the outputs of a job before it starts the job, so what a job would refuse is asked
for first, where a job is to make anew what is there. Tokenizer and torch take seconds to import,
and what the Snakefile imports needs neither: the questions go to a process of their own
(`tokenizer_checks`), and only where there is something to ask.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError

PAIR_SETTINGS = ("prepend_bos", "on_bad_pair", "answer_tokens", "unequal_lengths", "max_pairs")
"""What the rule `prepare_pairs` checks pairs with."""


@dataclass(frozen=True)
class Question:
    """What is asked of one study."""

    study: str
    model: str
    """The folder of the fetched model."""
    pairs: str | None = None
    """The file of pairs, where it is to be checked."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of `PAIR_SETTINGS`."""
    starts: Sequence[str] = ()
    """Prompts at which the searches begin, where the configuration names some."""
    answers: Sequence[str] = ()
    """Answers that are declared for the searches."""
    device: str | None = None
    """Where the study's model is to run, if that is to be looked for."""


def searched(study: Mapping[str, Any]) -> dict[str, list[str]]:
    """The prompts and answers that a study's configuration declares for its searches."""
    asked = study["counterfactuals"]
    starts = [asked["start"] if asked["targets"] else None]
    starts.append(asked["atlas"]["start"] if asked["atlas"]["seeds"] else None)
    lists = [[each] if isinstance(each, str) else each or [] for each in starts]
    answers = asked["answers"] if asked["targets"] else None
    return {"starts": [text for each in lists for text in each], "answers": answers or []}


def check_folders(folders: Iterable[str | os.PathLike[str]], *, written: bool = False) -> None:
    """Raise UserError for one of ``folders`` that stands there and is none; if they are to be
    ``written`` to, also for one that cannot be, or cannot be made in the nearest folder above it.
    """
    for folder in map(Path, folders):
        there = folder
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            what = "a link that leads nowhere" if there.is_symlink() else "a file"
            raise UserError(
                f"{there} is {what}, and files are to be made in a folder of that name; move it "
                "away, or rename it"
            )
        if written and not os.access(there, os.W_OK | os.X_OK):
            raise UserError(
                f"{there} cannot be written to, and files are to be made in it; change who may "
                "(chmod, chown), or work in a folder of your own"
            )


def check(questions: Sequence[Question]) -> None:
    """Raise UserError with every mistake that is found in any of the studies.

    Where the process itself fails, nothing is said: the job will find what is wrong.
    """
    if not questions:
        return
    done = subprocess.run(
        [sys.executable, "-m", "counterpoint.workflow.tokenizer_checks"],
        input=json.dumps([asdict(each) for each in questions]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return
    mistakes = json.loads(done.stdout.rpartition("\n\n")[2])
    if mistakes:
        raise UserError("\n".join([*mistakes, "Nothing was started; what was there is there."]))
