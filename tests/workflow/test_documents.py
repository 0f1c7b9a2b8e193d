"""What the documents say of the workflow is so."""

from __future__ import annotations

import re
from pathlib import Path

import networkx as nx
import pytest
import yaml

from tests.helpers.small_study import ROOT, snakemake


@pytest.mark.workflow
def test_the_readmes_graph_is_the_workflows(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    # Which heads are searched for is then known before anything has run.
    config["studies"]["ioi"]["counterfactuals"]["targets"] = [[0, 0]]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = snakemake(ROOT, "--rulegraph", "mermaid-js", configfile=str(tmp_path / "config.yaml"))
    assert done.returncode == 0, done.stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    edges = re.findall(r"(id\d+) --> (id\d+)", done.stdout)
    graph = nx.DiGraph((names[a], names[b]) for a, b in edges)
    graph.remove_node("all")
    drawn = re.findall(r"^    (\w+) --> (\w+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(drawn) == set(nx.transitive_reduction(graph).edges)


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("*.md")))
def test_links_of_a_document_lead_to_files(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith(("http:", "https:")):
            assert (ROOT / target).exists(), target


def test_the_makes_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", readme, re.MULTILINE))
    assert named <= targets
