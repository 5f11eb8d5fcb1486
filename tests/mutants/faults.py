"""Faults that somebody could make, as rows: what is changed where, and the tests that have to notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Fault:
    """One plausible fault.

    Attributes:
        what: the fault in a few words.
        file: the module it is in, relative to the package.
        old: text that stands in the module exactly once.
        new: what stands there instead.
        tests: files, or ``file::test``, relative to ``tests``, of which one has to fail.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def put_into(self, package: Path) -> str:
        """Change the module under `package`; return its text as it was.

        Raises:
            ValueError: the old text does not stand there exactly once.
        """
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times: {self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


def faults() -> list[Fault]:
    """Return all faults: those of each file of this folder, in the order of their names."""
    return [
        Fault(tests=tuple(row.pop("tests")), **row)
        for file in sorted(HERE.glob("*.toml"))
        for row in tomllib.loads(file.read_text(encoding="utf-8"))["fault"]
    ]
