"""What a measured number is: where a record has it, how it is written, what a difference of it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Kind(NamedTuple):
    """What values there can be: the type of their column, the least and the most."""

    dtype: Literal["Int64", "Float64"]
    least: float
    most: float

    def allows(self, value: float) -> bool:
        """Return True if `value` can be one."""
        return self.least <= value <= self.most and (self.dtype == "Float64" or value == int(value))


COUNT = Kind("Int64", 0, 2**63 - 1)
AMOUNT = Kind("Float64", 0, 1e15)
PERCENT = Kind("Float64", 0, 100)
SHARE = Kind("Float64", 0, 1)
NUMBER = Kind("Float64", -1e15, 1e15)

# The tables of a profile; scores are in none of them.
COUNTS, MEMORY = "Counts, one image", "Memory of a training step"
INFERENCE, TRAINING = "Inference", "Training step"
SCORES = ""

# In a table, in CSV and JSON only, or nowhere.
Shown = Literal["table", "data", ""]


class Layout(NamedTuple):
    """Where a quantity stands in its section, if not in the order of the rows: lower ranks come first.

    Attributes:
        section: rank in the section's table; differences follow the quantities of their rank.
        columns: rank among all columns.
        data: rank in CSV and JSON.
        delta: whether the difference is in the section's table, a column to choose, or in CSV and JSON only.
    """

    section: int = 0
    columns: int = 0
    data: int = 0
    delta: Literal["section", "column", "data"] = "section"


IN_ORDER = Layout()


# Prefixes of units, the largest first.
_DECIMAL = ((1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))
_BINARY = ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))


@dataclass(frozen=True)
class Quantity:
    """One measured number.

    Attributes:
        key: its name in ``columns``.
        header: what tables print above it; without one it is in CSV and JSON only.
        field: its name in CSV, in JSON and in what counters fill; by default the key.
        path: keys that lead to it in a record; by default the field.
        name: what a sentence calls it; a cost with one is in the table of an edit's cost.
        kind: what values there can be.
        unit: what values are divided by where they are written or drawn.
        suffix, digits: how they are written then, without digits as short as may be.
        write: writes a value in place of these.
        write_small: the same, of a part of a network or of a small network.
        write_published: the same, of a published value: authors print fewer digits than we know of ours.
        better: ``more``, ``less``, or empty where neither is.
        delta: what a difference to the base is: ``relative`` (0.05 is 5 % more), ``absolute`` (in the unit of the
            quantity), or empty where nothing is compared.
        ratio: field of the ratio to the base that was measured round by round; the difference is by that.
        note: what a reader must know, printed once below a table.
        delta_note: what else of its difference.
        study_note: the note below a study's table; by default `note`.
        runs: what a note on the data of training runs calls it.
        line: how a line of a log writes it; empty where it has no place there.
        axis: the label of its axis in a plot, ``{}`` for the prefix of its unit (G, Mi); by default the header.
        section: the table of a profile that it belongs to.
        layout: its place there.
        grows: whether it is compared between sizes of the image.
        parts: where it is shown for parts of a network.
        study: where it is shown as a cost in a study.
        study_field: its name in a study's data; by default the field.
    """

    key: str
    header: str = ""
    field: str = ""
    path: tuple[str, ...] = ()
    name: str = ""
    kind: Kind = AMOUNT
    unit: float = 1.0
    suffix: str = ""
    digits: int | None = None
    write: Callable[[float], str] | None = None
    write_small: Callable[[float], str] | None = None
    write_published: Callable[[float], str] | None = None
    better: Literal["more", "less", ""] = "less"
    delta: Literal["relative", "absolute", ""] = ""
    ratio: str = ""
    note: str = ""
    delta_note: str = ""
    study_note: str = ""
    runs: str = ""
    line: str = ""
    axis: str = ""
    section: str = COUNTS
    layout: Layout = IN_ORDER
    grows: bool = False
    parts: Shown = ""
    study: Shown = "table"
    study_field: str = ""

    def __post_init__(self) -> None:
        field = self.field or self.key
        defaults = {"field": field, "path": (field,), "study_field": field, "study_note": self.note}
        defaults["axis"] = self.header
        for name, value in defaults.items():
            object.__setattr__(self, name, getattr(self, name) or value)

    def scale(self, most: float) -> tuple[float, str]:
        """Return the unit and the label of an axis whose largest value is `most`: with the prefix that suits it."""
        if "{}" not in self.axis:
            return self.unit, self.axis
        unit, prefix = fitting(most, _BINARY if self.unit == 2**20 else _DECIMAL)
        return unit, self.axis.format(prefix)

    @property
    def what(self) -> str:
        """What a caption calls its axis."""
        return self.axis.format("").partition(" (")[0]

    @property
    def is_percent(self) -> bool:
        """True if it is written in percent, and an absolute difference in percentage points."""
        return self.kind.most / self.unit == 100

    @property
    def is_study_cost(self) -> bool:
        """True if studies show it as a cost, in a table or as data."""
        return bool(self.study and self.header and self.section != SCORES)

    def text(self, value: float) -> str:
        """Return a value as tables print it."""
        if self.write:
            return self.write(value)
        if self.digits is None:
            return shortest(value / self.unit) + self.suffix
        return fixed(self.unit, self.suffix, self.digits)(value)

    def small_text(self, value: float) -> str:
        """Return a value of a part of a network, or of a small one."""
        return (self.write_small or self.text)(value)

    def delta_text(self, value: float) -> str:
        """Return a difference to the base as tables print it."""
        if self.delta == "relative":
            return signed(100 * value, 1) + "%"
        return self._difference(value * (1 / self.unit), self.digits)

    def mean_text(self, value: float) -> str:
        """Return a mean or a deviation over seeds: with a digit more than a single value."""
        value /= self.unit
        return shortest(value, 4) if self.digits is None else f"{value:.{self.digits + 1}f}"

    def mean_delta_text(self, value: float) -> str:
        """Return a mean difference over seeds: with a digit more than a single one."""
        return self._difference(value / self.unit, None if self.digits is None else self.digits + 1)

    def _difference(self, value: float, digits: int | None) -> str:
        if digits is not None:
            return signed(value, digits)
        return f"{'-' if value < 0 else '+'}{shortest(abs(value))}"


def fixed(unit: float, suffix: str, digits: int) -> Callable[[float], str]:
    """Return a writer of values divided by `unit`, with `digits` decimals and `suffix`."""
    return lambda value: f"{value / unit:.{digits}f}{suffix}"


def counted(value: float) -> str:
    """Write a count with the unit that suits it: 4.09G, 0.30G, 25.6M, 147.5K, 0."""
    for least, unit, suffix, digits in ((1e8, 1e9, "G", 2), (1e6, 1e6, "M", 1), (1e3, 1e3, "K", 1)):
        if value >= least:
            return f"{value / unit:.{digits}f}{suffix}"
    return f"{value:.0f}"


def millions(value: float) -> str:
    """Write a count in millions, 25.6M, and a small one with the unit that suits it."""
    return f"{value / 1e6:.1f}M" if value >= 5e4 else counted(value)


def in_bytes(value: float) -> str:
    """Write bytes with the unit that suits them: 3.20 GiB, 20.0 MiB, 14.3 KiB, 0.0 MiB."""
    unit, prefix = fitting(value, _BINARY[:3]) if value else (2**20, "Mi")
    return f"{value / unit:.{2 if prefix == 'Gi' else 1}f} {prefix}B"


def fitting(most: float, prefixes: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest of `prefixes` that `most` has one of, else the smallest: its unit and its letters."""
    return next((each for each in prefixes if abs(most) >= each[0]), prefixes[-1])


def significant(value: float) -> str:
    """Write `value` with three significant digits, and every digit before the point."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"


def shortest(value: float, digits: int = 3) -> str:
    """Write `value` with so many significant digits, however small, and every digit before the point."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def signed(value: float, digits: int) -> str:
    """Write a difference with its sign and so many decimals."""
    # Adding zero turns the -0.0 of a rounding into 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f}"
