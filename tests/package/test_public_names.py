"""What `import counterpoint` gives: light, lazy, documented, and nothing that a rule hangs on."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import counterpoint
from counterpoint.workflow import code_version

ROOT = Path(__file__).parents[2]
CALLS = (
    "load",
    "measure",
    "curves",
    "interaction_partners",
    "position_curves",
    "positions",
    "roles",
    "attention_patterns",
    "edges",
    "circuit",
    "compose",
    "validate",
)
LAZY = {f"counterpoint.{home}" for home in counterpoint._HOMES.values()} - {"counterpoint.errors"}


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "matplotlib"]
    found = run(
        "import sys, counterpoint; dir(counterpoint);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert found == "[]"


def test_pairs_need_no_torch() -> None:
    program = "import sys, counterpoint; counterpoint.pairs('ioi'); print('torch' in sys.modules)"
    assert run(program) == "False"


@pytest.mark.parametrize(
    "first",
    ["", "import counterpoint.pairs.hub; ", "from counterpoint.pairs.given_pairs import pairs; "],
)
def test_the_room_of_pairs_can_be_called_in_any_order_of_imports(first: str) -> None:
    program = f"{first}import counterpoint; print(len(counterpoint.pairs('ioi.default')))"
    expected = len(pd.read_csv(ROOT / "resources/pairs/ioi.default.csv"))
    assert run(program) == str(expected)


def test_every_name_is_there_and_no_other() -> None:
    assert set(counterpoint.__all__) <= set(dir(counterpoint))
    shown = {name for name in dir(counterpoint) if not name.startswith("_")}
    assert shown == set(counterpoint.__all__) - {"__version__"}
    for name in counterpoint.__all__:
        assert getattr(counterpoint, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        counterpoint.mesure  # noqa: B018
    assert issubclass(counterpoint.UserError, Exception)


def test_types_and_homes_are_the_same_names() -> None:
    """What an editor is told stands where the name is really taken from."""
    source = (ROOT / "counterpoint/__init__.py").read_text(encoding="utf-8")
    for name, home in counterpoint._HOMES.items():
        assert re.search(
            rf"^    from counterpoint\.{home} import \(?\s*{name} as {name}[,\s]", source, re.M
        ), name
    named = {*counterpoint._HOMES, *counterpoint._ROOMS, "__version__"}
    assert named == set(counterpoint.__all__)


@pytest.mark.parametrize("name", [*CALLS, "given_pairs"])
def test_a_call_says_what_it_takes_gives_and_refuses(name: str) -> None:
    from counterpoint.pairs.given_pairs import pairs

    function = pairs if name == "given_pairs" else getattr(counterpoint, name)
    said = inspect.getdoc(function)
    assert said is not None
    for section in ("\nArgs:\n", "\nReturns:\n", "\nRaises:\n    UserError: "):
        assert section in said
    signature = inspect.signature(function)
    assert signature.return_annotation not in (None, inspect.Signature.empty)
    for parameter in signature.parameters.values():
        assert f"\n    {parameter.name}: " in said, parameter.name
        assert parameter.annotation is not inspect.Parameter.empty


def test_no_rule_depends_on_the_public_names() -> None:
    """Else a name that is added would make every result anew."""
    scripts = [path.relative_to(ROOT) for path in (ROOT / "scripts").glob("[a-z]*.py")]
    calls = {
        "counterpoint.counterfactuals.composing",
        "counterpoint.measures.finding_circuits",
        "counterpoint.measures.measuring",
        "counterpoint.models.given_models",
        "counterpoint.pairs.given_pairs",
    }
    assert calls <= LAZY | {"counterpoint.pairs.given_pairs"}
    for script in scripts:
        assert not calls & code_version.imported_modules(script), script


def test_the_digest_of_a_rule_does_not_see_the_public_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = code_version.code_version("scripts/merge_tables.py")
    original = code_version._tree_digest
    top = ROOT / "counterpoint" / "__init__.py"
    monkeypatch.setattr(
        code_version, "_tree_digest", lambda path: "other" if path == top else original(path)
    )
    assert code_version.code_version("scripts/merge_tables.py") == before


def test_every_shipped_file_is_where_a_wheel_takes_it_from() -> None:
    import tomllib

    from counterpoint.files.shipped_files import shipped_file
    from counterpoint.pairs.given_pairs import shipped_sets

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    taken = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all(target == f"counterpoint/shipped/{source}" for source, target in taken.items())
    assert all(shipped_file(source) == ROOT / source for source in taken)
    sets = {f"resources/pairs/{name}.csv" for name in shipped_sets()}
    assert set(taken) == {"config.yaml", "config.schema.yaml", *sets}
