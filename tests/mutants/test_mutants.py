"""The faults of `make test-mutants` are about the code and the tests that there are."""

import shutil
from pathlib import Path

import pytest
from faults import Fault, faults

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: f"{fault.file}: {fault.what}")
def test_each_fault_has_its_place_and_its_tests(fault: Fault, tmp_path: Path) -> None:
    (tmp_path / fault.file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "hmhsa_insert" / fault.file, tmp_path / fault.file)
    fault.put_into(tmp_path)
    compile((tmp_path / fault.file).read_text(), fault.file, "exec")
    for test in fault.tests:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text()
        assert not name or f"def {name.partition('[')[0]}(" in text


def test_there_are_many_and_no_two_alike() -> None:
    found = faults()
    assert len({(fault.file, fault.old, fault.new) for fault in found}) == len(found) >= 80
