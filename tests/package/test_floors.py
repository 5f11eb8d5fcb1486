"""The oldest versions that pyproject.toml allows are those that constraints-oldest.txt installs and tests run with."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FLOORS = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, PROJECT["dependencies"])
}
OLDEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")


def pins(name: str, python: str) -> dict[str, str]:
    """Return the versions that a constraints file installs on a version of Python."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        pin = Requirement(line.partition("#")[0].strip()) if line.partition("#")[0].strip() else None
        if pin and (pin.marker is None or pin.marker.evaluate({"python_version": python})):
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert canonicalize_name(pin.name) not in found, pin
            found[canonicalize_name(pin.name)] = exact.version
    return found


@pytest.mark.parametrize("name", FLOORS)
def test_the_floor_is_the_version_that_is_tested(name: str) -> None:
    (floor,) = FLOORS[name].specifier
    assert floor.operator == ">="
    assert Version(floor.version) == Version(pins("constraints-oldest.txt", OLDEST_PYTHON)[name])


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_all_that_is_required_is_pinned_and_allowed(python: str) -> None:
    for file in ("constraints-oldest.txt", "constraints.txt"):
        found = pins(file, python)
        assert not [name for name, floor in FLOORS.items() if not floor.specifier.contains(found[name])]


def test_both_files_pin_the_same_packages_and_only_requirements_are_older() -> None:
    oldest, newest = (pins(name, OLDEST_PYTHON) for name in ("constraints-oldest.txt", "constraints.txt"))
    assert oldest.keys() == newest.keys()
    older = {name for name in oldest if oldest[name] != newest[name]}
    # The newest import-linter and twine need a newer rich, and the newest mlxtend a newer scikit-learn.
    assert older <= {*FLOORS, "import-linter", "mlxtend", "twine"}
