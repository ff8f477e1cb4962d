"""The page of faults names tests, and they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "tables" / "faults.md").read_text())


def test_every_line_names_a_test():
    text = (ROOT / "docs" / "tables" / "faults.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    faults = [line for line in lines if not line.endswith("| test |")]
    assert len(faults) == len(NAMED) > 40


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_is_there(file, test):
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert test in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
