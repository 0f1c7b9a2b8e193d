"""From the command line of make to Snakemake's: `python -m counterpoint.workflow.command_line
ARGUMENTS`.

Make hands over what its user chose (STUDY, PAIRS, MODEL, ARGS, ...) in environment variables, so
that no shell reads a file's name, and it reaches Snakemake in a configuration file, since Snakemake
would read `--config study=007` as the number 7 and lose quotes and dollars on the way to a job. The
file's name is a digest of what it holds: runs side by side do not take each other's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoint.errors import UserError
from counterpoint.files.artifacts import is_file, user_path, write_text
from counterpoint.files.yaml_and_json import read_mapping, whole_text

CHOICES = ("STUDY", "PAIRS", "MODEL", "ON_BAD_PAIR", "MAX_PAIRS")
"""Variables of make that stand for the key of the same name in a configuration."""
PREFIX = "COUNTERPOINT_"

COMMAND_LINE = "the command line"

OWN = Path("config.yaml")
"""The workflow's own configuration, over which others are laid."""

FOLDER = Path(".snakemake", "counterpoint")


def configuration_files(environment: Mapping[str, str]) -> list[str]:
    """The files to lay over config.yaml: those of CONFIG, then one that holds the choices.

    Raises UserError for a file, config.yaml too, that cannot be used, before anything is started:
    Snakemake would not say which one it is, nor where.
    """
    if OWN.is_file():
        read_mapping(OWN)
    files = _files(environment.get(f"{PREFIX}CONFIG", ""))
    for file in files:
        try:
            read_mapping(file)
        except UserError as mistake:
            raise UserError(f"CONFIG: {mistake}") from None
    chosen = {key.lower(): environment.get(PREFIX + key, "") for key in CHOICES}
    given = {
        key: _value(key, whole_text(text, key.upper())) for key, text in chosen.items() if text
    }
    if not given:
        return files
    text = json.dumps(given, ensure_ascii=False, indent=2) + "\n"
    path = FOLDER / f"command-line-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_text(text, path)
    return [*files, str(path)]


def _files(text: str) -> list[str]:
    """The files that CONFIG names: one, whatever its name holds, or several with spaces between."""
    words = [text] if is_file(user_path(text)) else text.split()
    words = [str(user_path(word)) if word.startswith("~") else word for word in words]
    # A file is no option, whatever its name begins with.
    return [f"./{word}" if word.startswith("-") else word for word in words]


def further_arguments(environment: Mapping[str, str]) -> list[str]:
    """The words of ARGS, which are for Snakemake; quotes keep one together, as in a shell.

    Raises UserError for a quote that does not end.
    """
    text = environment.get(f"{PREFIX}ARGS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"ARGS: {text} does not end as it begins ({error}); close the quote, or put a "
            "backslash before it"
        ) from None


def cores(environment: Mapping[str, str]) -> str:
    """The number of cores to use, as Snakemake takes it. Raises UserError for none."""
    text = environment.get(f"{PREFIX}CORES", "").strip()
    if text != "all" and not re.fullmatch(r"0*[1-9][0-9]*", text):
        raise UserError(
            f"CORES: {text or 'nothing'} is no number of cores; give 1 or more, or all, as in: "
            "make report CORES=4"
        )
    return text


def names_study(files: Sequence[str | os.PathLike[str]], values: Mapping[str, Any]) -> bool:
    """Whether the command line, of make or of Snakemake (its ``values``), names studies."""
    choices = [file for file in files if described(file) == COMMAND_LINE]
    return any(layer.get("study") is not None for layer in [*map(read_mapping, choices), values])


def described(file: str | os.PathLike[str]) -> str:
    """A configuration file as messages name it."""
    path = Path(file)
    if path.parent.name == FOLDER.name and path.name.startswith("command-line-"):
        return COMMAND_LINE
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _value(key: str, text: str) -> str | int:
    return int(text) if key == "max_pairs" and re.fullmatch(r"-?[0-9]+", text) else text


def makes_nothing(arguments: Sequence[str]) -> bool:
    """Whether Snakemake was told to do something else than to make files, as by ARGS=-n."""
    return any(
        each.startswith(("--dry", "--lint", "--list", "--summ", "--detail", "--unlock", "--touch"))
        or each.startswith(("--dag", "--rulegraph", "--filegraph", "--help", "--version"))
        or re.fullmatch(r"-[a-zA-Z]*[nhltSD][a-zA-Z]*", each) is not None
        for each in arguments
    )


def say_what_is_made(arguments: Sequence[str]) -> None:
    """Print the files that the studies came to, those that are there."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--summary"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    names = {line.split("\t", 1)[0] for line in done.stdout.splitlines()}
    made = sorted(
        name for name in names if re.fullmatch(r"results/[^/]+/[^/]+", name) and Path(name).exists()
    )
    if made:
        pages = [name for name in made if name.endswith("/report.html")]
        print("\nMade:", *(f"  {name}" for name in made), sep="\n")
        print("Read:", " ".join(pages))


def main() -> None:
    """Become Snakemake; after `--made`, only say what it has made.

    Ends with status 1 and one message for a user's mistake.
    """
    wanted = sys.argv[1:]
    try:
        wanted += further_arguments(os.environ)
        files = configuration_files(os.environ)
        arguments = [*wanted, "--cores", cores(os.environ)]
    except UserError as mistake:
        sys.exit(f"error: {mistake}")
    if files:
        arguments += ["--configfile", *files]
    if wanted[:1] == ["--made"]:
        if not makes_nothing(wanted):
            say_what_is_made(arguments[1:])
        return
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *arguments])


if __name__ == "__main__":
    main()
