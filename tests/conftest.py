"""The sample that `make test` runs: `sample.toml` says which cases of which tests are left to `make test-long`."""

import tomllib
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_ONE_IN: dict[str, int] = tomllib.loads((_TESTS / "sample.toml").read_text(encoding="utf-8"))["one_in"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not in the sample as long, before pytest selects by marks."""
    seen: dict[str, int] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or not item.path.is_relative_to(_TESTS):
            continue
        name = f"{item.path.relative_to(_TESTS).as_posix()}::{item.originalname}"
        if name not in _ONE_IN:
            continue
        number = seen[name] = seen.get(name, -1) + 1
        if _ONE_IN[name] == 0 or number % _ONE_IN[name]:
            item.add_marker(pytest.mark.long)
