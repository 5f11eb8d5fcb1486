"""The examples in the docstrings of the public names: each runs as it is written, and shows a value."""

import doctest
import inspect
from pathlib import Path

import pytest

import hmhsa_insert as hi

PUBLIC = sorted(name for name in hi.__all__ if name != "__version__")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_of(name: str) -> doctest.DocTest:
    text = inspect.getdoc(getattr(hi, name)) or ""
    return doctest.DocTestParser().get_doctest(text, {}, f"hi.{name}", None, None)


def test_every_public_name_has_an_example() -> None:
    assert not [name for name in PUBLIC if not examples_of(name).examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_runs_and_shows_a_value(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, said = examples_of(name), []
    assert found.examples[-1].want, "an example ends with a value"
    failed, tried = doctest.DocTestRunner(optionflags=FLAGS).run(found, out=said.append)
    assert (failed, tried) == (0, len(found.examples)), "".join(said)
