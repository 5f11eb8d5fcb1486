"""What is asked of an exported file: its inputs, which of their axes stay free, and within which range."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hmhsa_insert.errors import Argument, ExportError, Problem, near
from hmhsa_insert.surgery.base.inputs import Inputs

BATCH, SIZE = "batch", "size"
AXES = (BATCH, SIZE)
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")
_RANGE_TIP = "write 64..512, or 64..512:32 for the multiples of 32"
_LARGEST = 16384


@dataclass(frozen=True)
class Sides:
    """The heights and widths that a file is for, in pixels.

    Attributes:
        low, high: the least and the largest, both included.
        step: all are multiples of it.
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high <= _LARGEST and self.step > 0):
            message = f"{self.low}..{self.high} is not a range of sizes from 1 to {_LARGEST}"
            raise ExportError(Problem(Argument("size"), message, _RANGE_TIP))
        if self.low % self.step or self.high % self.step or self.low == self.high:
            message = f"{self.low} and {self.high} are not both multiples of {self.step}"
            raise ExportError(Problem(Argument("size"), message, _RANGE_TIP))

    def __contains__(self, side: int) -> bool:
        return self.low <= side <= self.high and side % self.step == 0

    def __str__(self) -> str:
        steps = f", multiples of {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{steps}"

    def ragged(self) -> list[tuple[int, int]]:
        """Return heights and widths to run a file at: both ends, and sizes that few cells divide."""
        steps = (self.high - self.low) // self.step
        at = [self.low + self.step * (steps * part // 16) for part in range(17)]
        near_low, odd = self.low + self.step * min(1, steps), at[5] + (self.step if at[5] % 2 == 0 else 0)
        sizes = [
            (self.low, self.low),
            (self.low, self.high),
            (self.high, near_low),
            (odd, at[3]),
            (at[7], odd),
        ]
        return list(dict.fromkeys((min(h, self.high), min(w, self.high)) for h, w in sizes))


@dataclass(frozen=True)
class Asked:
    """One export.

    Attributes:
        inputs: the network's, at the size that is traced.
        dynamic: the free axes, of :data:`AXES`.
        sides: of images, if their size is free.
        opset: of an ONNX file; None: the exporter's own.
    """

    inputs: Inputs
    dynamic: frozenset[str]
    sides: Sides | None = None
    opset: int | None = None

    @property
    def batch(self) -> int:
        """The batch that is traced: more than one where it is free, so that no axis looks like a constant."""
        return self.inputs.batch or (2 if BATCH in self.dynamic else 1)

    def runs(self) -> list[tuple[int, Inputs]]:
        """Return the batches and inputs that a file is run on: at least three."""
        batches = [1, 2, 3, 5] if BATCH in self.dynamic else [self.batch] * 3
        if self.sides is None:
            return [(batch, self.inputs) for batch in batches]
        sizes = self.sides.ragged()
        made = [self.inputs, *(self.inputs.resized(lambda *_, size=size: size) for size in sizes)]
        return [(batches[place % len(batches)], inputs) for place, inputs in enumerate(made)]


def asked_for(
    inputs: Inputs, dynamic: Iterable[str], size: str | Sequence[int] | None, opset: int | None
) -> Asked:
    """Return what is asked for, checked before any work is done.

    Raises:
        ExportError: an axis of no such name, a range that is none, or one without the size that is traced.
    """
    names = frozenset(dynamic)
    unknown = sorted(names.difference(AXES))
    if unknown:
        tip = near(unknown[0], AXES) or f"write {' or '.join(AXES)}, or both"
        raise ExportError(Problem(Argument("dynamic"), f"there is no axis '{unknown[0]}'", tip))
    if BATCH in names and inputs.batch is not None:
        message = f"the network takes batches of {inputs.batch} alone"
        raise ExportError(Problem(Argument("dynamic"), message, "leave batch out"))
    if SIZE not in names:
        if size is not None:
            message = "a range of sizes is for files of any size"
            raise ExportError(Problem(Argument("size"), message, "`dynamic=('batch', 'size')`"))
        return Asked(inputs, names, None, opset)
    return Asked(inputs, names, _sides(inputs, size), opset)


def _sides(inputs: Inputs, size: str | Sequence[int] | None) -> Sides:
    images = [leaf.size[-2:] for leaf in inputs.leaves if leaf.batched and len(leaf.size) >= 3]
    if not images:
        message = f"no input is an image: {inputs}"
        raise ExportError(Problem(Argument("dynamic"), message, "leave size out"))
    given = [side for image in images for side in image]
    if size is None:
        return Sides(max(1, min(given) // 2), 2 * max(given))
    sides = parse_sides(size) if isinstance(size, str) else Sides(*size)
    outside = [side for side in given if side not in sides]
    if outside:
        message = f"{outside[0]}, the size that is traced, is not in it: {sides}"
        raise ExportError(Problem(Argument("size"), message, "give another range, or another input size"))
    return sides


def parse_sides(text: str) -> Sides:
    """Return the range that ``64..512`` or ``64..512:32`` names.

    Raises:
        ExportError: it names none.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise ExportError(Problem(Argument("size"), f"'{text}' is not a range", _RANGE_TIP))
    low, high, step = found.groups()
    return Sides(int(low), int(high), int(step or 1))
