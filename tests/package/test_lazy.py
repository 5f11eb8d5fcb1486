"""Public names that are imported at their first use: none is hidden by a file of the same name."""

import importlib
from pathlib import Path

import pytest

PACKAGES = ["hmhsa_insert.blocks", "hmhsa_insert.training", "hmhsa_insert.training.data"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_public_name_is_what_its_file_has_after_the_file_was_imported(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__file__ is not None
    files = {path.stem for path in Path(package.__file__).parent.iterdir()}
    hidden = {each for each in package.__all__ if each in files}
    assert not hidden
    assert all(getattr(package, each) is not None for each in package.__all__)
