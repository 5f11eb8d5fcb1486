"""The table of what is left to `make test-long` names tests that there are, and keeps a case where it says so."""

import ast
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = tomllib.loads((TESTS / "sample.toml").read_text(encoding="utf-8"))["one_in"]


@pytest.mark.parametrize("name", TABLE)
def test_there_is_such_a_test(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    assert len(found) == 1
    assert TABLE[name] == 0 or TABLE[name] >= 2
