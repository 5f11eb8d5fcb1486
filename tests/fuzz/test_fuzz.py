"""A sample of the fuzzer's cases, and that it notices what no case may come to."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cases import Outcome, damaged, kind_of, run_case
from driver import EVIL, KINDS, is_bad, outcomes, prepared, table
from mutate import mutated_text, mutated_values
from specimens import Kind

from hmhsa_insert.errors import HmhsaInsertError

SAMPLE = 417  # three rounds of every kind, each as often as its share


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("fuzz"))


def test_a_sample_is_accepted_or_refused(specimens: Path) -> None:
    found = list(outcomes(2, range(SAMPLE), specimens))
    assert [each for each in found if is_bad(each)] == []
    assert sorted(each.number for each in found) == list(range(SAMPLE))
    assert {each.kind for each in found} == {kind.name for kind in KINDS}
    results = {each.result for each in found}
    assert results == {"accepted", "refused"}
    assert table(found)[-1].startswith(f"| **all** | {SAMPLE} |")


def test_every_specimen_is_accepted_as_it_is(specimens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(specimens)
    for kind in KINDS:
        kind.read()


def test_a_case_is_made_again_from_its_number() -> None:
    text, value = b"version: 1\nname: x\n", {"a": [1, {"b": None}], "c": "d"}
    for number in range(200):
        first, second = random.Random(number), random.Random(number)
        assert mutated_text(first, text) == mutated_text(second, text)
        assert repr(mutated_values(first, value)) == repr(mutated_values(second, value))
    assert value == {"a": [1, {"b": None}], "c": "d"}
    changed = sum(damaged(random.Random(n), KINDS[0], text) != text for n in range(100))
    assert changed > 90
    assert {kind_of(number).name for number in range(SAMPLE)} == {kind.name for kind in KINDS}


def _case_of(read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("f").write_bytes(b"text")
    Path(f"{EVIL}.py").write_text("import pathlib\n\npathlib.Path('IMPORTED').touch()\n")
    kind = Kind("any", "f", "text", read, 1)  # type: ignore[arg-type]
    monkeypatch.setattr(sys.modules["cases"], "kind_of", lambda number: kind)
    outcome = run_case(0, 0, {"f": b"text"})
    assert Path("f").read_bytes() == b"text"
    return outcome


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (lambda: 1 / 0, "traceback"),
        (lambda: __import__(EVIL), "imported"),
        (lambda: _raise(SystemExit("\x1b[2J")), "live"),
        (lambda: _raise(SystemExit("x" * 30_000)), "live"),
    ],
)
def test_the_fuzzer_notices(read: object, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _case_of(read, tmp_path, monkeypatch)
    assert is_bad(outcome)
    assert outcome.result == what or getattr(outcome, what)


_LARGE = """
from cases import observed
from driver import is_bad
from specimens import Kind

def read():
    return b"x" * (600 << 20)

outcome = observed(0, Kind("any", "f", "text", read, 1), read)
assert outcome.megabytes >= 500 and is_bad(outcome), outcome
"""


def test_the_fuzzer_notices_memory() -> None:
    """In a process of its own: one that has cold pages to give back may have no higher peak than before."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run([sys.executable, "-c", _LARGE], env={**os.environ, "PYTHONPATH": path}, check=True)


def test_a_refusal_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _case_of(lambda: _raise(HmhsaInsertError("no")), tmp_path, monkeypatch)
    assert (outcome.result, is_bad(outcome)) == ("refused", False)
    late = Outcome(0, "any", "accepted", 5.1, 0.0, False, False, "")
    assert is_bad(late)
