#!/usr/bin/env bash
# papermill 2.7.0: a tuple that is given as a parameter reaches the notebook as text. Of (0.25, 0.75)
# the injected cell makes bounds = "(0.25, 0.75)".
#
# Guessed: a value of Python's own comes back as itself, as lists, dictionaries, numbers and None do; or
# the call says that it cannot be written.
# Seen: no error and no warning. A list of the same numbers stays a list; the tuple, at the top or within
# a list, becomes a str whose first element is a parenthesis, so that bounds[0] "works" and len(bounds) is 12.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check papermill==2.7.0 ipykernel==7.4.0 nbformat==5.11.1
cd "$folder"
cat > check.py <<'PYTHON'
import json
import warnings
from importlib.metadata import version

import nbformat
import papermill

print("papermill", version("papermill"))
cells = [
    nbformat.v4.new_code_cell("bounds = None", metadata={"tags": ["parameters"]}),
    nbformat.v4.new_code_cell(
        "import json; print(json.dumps([type(bounds).__name__, len(bounds), bounds[0]]))"
    ),
]
kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), "asked.ipynb")


def given(bounds):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = papermill.execute_notebook(
            "asked.ipynb", "answered.ipynb", parameters={"bounds": bounds}, progress_bar=False
        )
    text = "".join(output.get("text", "") for output in made.cells[-1].outputs)
    return json.loads(text), [one for one in said if "bounds" in str(one.message)]


for bounds in ([0.25, 0.75], (0.25, 0.75), [(0.25, 0.75), "x"]):
    (kind, length, first), said = given(bounds)
    print("given", bounds, "| in the notebook a", kind, "of length", length, "that begins with", repr(first))
    assert not said
    if isinstance(bounds, tuple):
        assert (kind, length, first) == ("str", 12, "(")
    elif isinstance(bounds[0], tuple):
        assert (kind, first) == ("list", "(0.25, 0.75)")
    else:
        assert (kind, length, first) == ("list", 2, 0.25)
PYTHON
"$folder/env/bin/python" check.py
