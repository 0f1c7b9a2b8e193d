"""Whether the folder of a fetched model still holds what was fetched.

Its `provenance.json` is written last and has the digest of every file. A file that was replaced or
edited afterwards would be another model under the old one's name, in some jobs and not in others:
the workflow looks at the source of a model, not into the folder that it made of it. The weights may
be hard links to the user's own file, which can be written to in place.
"""

from __future__ import annotations

from pathlib import Path

from counterpoint.errors import UserError
from counterpoint.files.digests import SMALL, content_digest
from counterpoint.files.yaml_and_json import parsed_json

PROVENANCE = "provenance.json"


def refuse_changed(folder: Path) -> None:
    """Raise UserError where a file of ``folder`` is not the one that was fetched.

    A folder that was not fetched says nothing of its files, and passes; one whose record cannot be
    read does not. Large files are read only if their status changed after the folder was made
    (`counterpoint.files.digests`).
    """
    record = folder / PROVENANCE
    try:
        files = parsed_json(record.read_text(encoding="utf-8")).get("files")
        made = record.stat().st_ctime_ns
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{record} cannot be read ({error}), so that nothing shows whether the model is the "
            "one that was fetched. Delete the folder, and it is fetched again; a folder of yours "
            f"needs no {PROVENANCE}"
        ) from None
    changed = []
    for name, digest in files.items() if isinstance(files, dict) else ():
        path = folder / name
        try:
            state = path.stat()
            # The clock of a file system ticks in milliseconds: the same time may be a later one.
            if state.st_size <= SMALL or state.st_ctime_ns >= made:
                same = content_digest(path) == digest
            else:
                same = True
        except OSError:
            same = False
        if not same:
            changed.append(name)
    if changed:
        raise UserError(
            f"{folder}: {', '.join(sorted(changed)[:4])} changed after the model was fetched (its"
            f" {PROVENANCE} has other checksums), so that it is no longer the model that is named."
            " Delete the folder, and it is fetched again. To measure a changed model, change a copy"
            f" of it in a folder of yours, without {PROVENANCE}, and use that one (source `local`)."
        )
