"""A few disks that fill up and a folder that goes; `tests/fuzz/disturb.py` does many."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from disturb import (
    Whole,
    can_mount,
    disk,
    full_disk,
    half_written,
    prepare,
    references,
    removed_folder,
    written,
)

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read."""
    folder = tmp_path_factory.mktemp("disturb")
    with contextlib.chdir(folder):
        prepare()
    return folder


@pytest.fixture(scope="module")
def known(here: Path) -> dict[str, Whole]:
    """Return what the commands write undisturbed."""
    with contextlib.chdir(here):
        return references(("apply", "train", "report"))


@pytest.mark.parametrize(("name", "share"), [("apply", 0.5), ("report", 0.3), ("train", 0.4)])
def test_a_full_disk(here: Path, known: dict[str, Whole], name: str, share: float) -> None:
    with contextlib.chdir(here):
        found = full_disk(name, int(share * known[name].used), known[name])
    assert found.problems == ()
    assert found.code not in (0, 99)
    assert found.said.startswith("error: ")


def test_a_removed_folder(here: Path, known: dict[str, Whole]) -> None:
    with contextlib.chdir(here):
        found = removed_folder("train", 0.5 * known["train"].seconds, known["train"])
    assert found.problems == ()


def test_what_is_left_is_noticed() -> None:
    with disk(1 << 20) as where:
        (where / "run").mkdir()
        (where / "run" / ".writing-best.safetensors").write_text("x")
        (where / "run" / "metrics.csv").write_text("x")
        assert half_written(where) == ["run/.writing-best.safetensors"]
        assert set(written(where)) == {"run/.writing-best.safetensors", "run/metrics.csv"}
