from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import USERNET, output, recipe


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command run in an empty folder: what it must not write there is then seen, and nothing else."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder of a user: a module with networks, and a recipe that fits them."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    Path("usernet.py").write_text(USERNET)
    Path("good.yaml").write_text(recipe())
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an artifact of the user's network and one of timm's."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", sys.path[:])
        patch.chdir(folder)
        Path("usernet.py").write_text(USERNET)
        Path("good.yaml").write_text(recipe())
        output("apply usernet:small -r good.yaml --input-size 64 -o mine")
        output("apply test_resnet -r good.yaml --input-size 64 -o library")
    return folder


@pytest.fixture
def artifacts(here: Path, made: Path) -> Path:
    """Return the working folder with a copy of both artifacts, to damage."""
    for name in ("mine", "library"):
        shutil.copytree(made / name, here / name)
    return here
