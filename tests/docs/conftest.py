"""The folder that a page's blocks run in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "tools"))


@pytest.fixture
def page_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Begin in an empty folder; modules and block types that a page brings are gone afterwards."""
    from hmhsa_insert.blocks import BLOCKS

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules, blocks = set(sys.modules), dict(BLOCKS)
    yield tmp_path
    for name in set(sys.modules) - modules:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(tmp_path)):
            del sys.modules[name]
    BLOCKS.clear()
    BLOCKS.update(blocks)
