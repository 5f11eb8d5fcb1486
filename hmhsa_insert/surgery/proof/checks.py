"""The checks of a verification, one by one and all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hmhsa_insert.printed import Printed
from hmhsa_insert.tables import Table, TableCell, left, right


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        passed: True if it holds.
        value: the measured number, such as max |Δ|; None if there is none.
        detail: one sentence about it.
    """

    name: str
    passed: bool
    value: float | None
    detail: str


class Checks(Printed, tuple[Check, ...]):
    """What :func:`hi.verify <hmhsa_insert.surgery.verify.verify>` found: a tuple of checks that prints as a table."""

    __slots__ = ()

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self)

    def tables(self) -> Sequence[Table]:
        """Return one row per check."""
        failed = sum(not check.passed for check in self)
        said = f"{failed} of {len(self)} checks FAILED" if failed else f"{len(self)} checks passed"
        headers = [left(), left("check"), right("max |Δ|"), left("what was found")]
        return [Table.of(f"Verification: {said}", headers, map(_row, self))]


def _row(check: Check) -> list[str | TableCell]:
    mark = TableCell("ok", 1, "good") if check.passed else TableCell("FAILED", 0, "bad")
    shown = f"{check.value:g}" if "outputs" in check.name and check.value is not None else ""
    return [mark, check.name, shown, check.detail]
