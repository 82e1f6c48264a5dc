"""The examples of the README."""

import ast
import re
from pathlib import Path

import pytest
import torch

import goodinit

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _imported(code):
    """Return the names that an example imports from goodinit."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in nodes if node.module == "goodinit" for alias in node.names]


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: "-".join(_imported(code)))
def test_an_example_runs(code, monkeypatch, tmp_path):
    assert len(code.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(code, "README.md", "exec"), {})


def test_every_public_method_has_an_example():
    assert {name for code in EXAMPLES for name in _imported(code)} == {*goodinit.__all__} - {"__version__"}
