"""What can be known before a run removes anything, asked of the model's own tokenizer and of torch.

Snakemake removes the outputs of a job before it starts the job, so what a job would refuse is asked
for first, where a job is to make anew what is there. Tokenizer and torch take seconds to import,
and what the Snakefile imports needs neither: the questions go to a process of their own
(`tokenizer_checks`), and only where there is something to ask.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
