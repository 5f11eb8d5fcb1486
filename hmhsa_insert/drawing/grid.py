"""Which axes of a traced value are rows and columns of a map, and the two simplest rules: all of it, itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

Size = tuple[int, ...]
Span = tuple[int, int] | None  # first and last position along an axis; None: all of them
Need = tuple[Span, Span]  # rows and columns
Read = Callable[[Need], Need]
EVERYTHING: Need = (None, None)
_NUMPY = {"dim": "axis", "keepdim": "keepdims"}


@dataclass(frozen=True)
class Grid:
    """Which axes of a value are rows and columns of a map, and their lengths in the traces at both input sizes.

    Attributes:
        axes: of rows and of columns; the same one twice for tokens in one line; None: every number depends on all of
            them.
        rows, cols: lengths in the first and in the second trace.
    """

    axes: tuple[int | None, int | None] = (None, None)
    rows: tuple[int, int] = (0, 0)
    cols: tuple[int, int] = (0, 0)

    @property
    def is_plain(self) -> bool:
        """True for N×C×H×W, N×C×H×1 or N×C×1×W, the forms that convolutions and pools take."""
        return self.axes in ((2, 3), (2, None), (None, 3))

    @property
    def is_flat(self) -> bool:
        """True for tokens in one line, row by row."""
        return self.axes[0] is not None and self.axes[0] == self.axes[1]


class UnknownReach(Exception):
    """No rule covers an operation."""


@dataclass(frozen=True)
class Operation:
    """One operation of a trace.

    Attributes:
        node: its node.
        shape, other: of its value in the first and in the second trace.
        sources: those of its inputs that depend on the image.
    """

    node: Node
    shape: Size
    other: Size
    sources: Mapping[Node, Grid]

    @property
    def grid(self) -> Grid:
        """The grid of the first input that is a map."""
        return max(self.sources.values(), key=lambda grid: sum(axis is not None for axis in grid.axes))

    def argument(self, names: str, name: str, default: Any = None) -> Any:
        """Return an argument; `names` are those by position. torch takes those of NumPy's name as well."""
        values, named = self.node.meta.get("values") or (), self.node.meta.get("named") or {}
        place = names.split().index(name)
        if place < len(values):
            return values[place]
        return named.get(name, named.get(_NUMPY.get(name, name), default))

    def only(self) -> tuple[Node, Grid]:
        """Return the one input that is a map.

        Raises:
            UnknownReach: there is none, or more than one.
        """
        maps = [(node, grid) for node, grid in self.sources.items() if grid.axes != (None, None)]
        if len(maps) != 1:
            raise UnknownReach
        return maps[0]


Reads = tuple[Grid, dict[Node, Read]]
Rule = Callable[[Operation], Reads]


def whole(operation: Operation) -> Reads:
    """Every number depends on all of every input."""
    return Grid(), {source: lambda need: EVERYTHING for source in operation.sources}


def same(operation: Operation) -> Reads:
    """A position reads itself."""
    grid = found_again(operation.grid, operation.shape, operation.other)
    return grid, {source: aligned(grid, own) for source, own in operation.sources.items()}


def found_again(grid: Grid, shape: Size, other: Size) -> Grid:
    """Return the grid of a value that holds the same positions: the axes are found by their two lengths.

    Raises:
        UnknownReach: they are not there, or more than one axis may be meant.
    """
    lengths = list(zip(shape, other, strict=True)) if len(shape) == len(other) else []

    def only(length: tuple[int, int]) -> int | None:
        found = [axis for axis, own in enumerate(lengths) if own == length]
        return found[0] if len(found) == 1 else None

    row, col = (
        only(length) if axis is not None else None
        for length, axis in ((grid.rows, grid.axes[0]), (grid.cols, grid.axes[1]))
    )
    wanted = tuple(axis is not None for axis in grid.axes)
    if (row is not None, col is not None) == wanted and (row is None or row != col):
        return Grid((row, col), grid.rows, grid.cols)
    line = only((grid.rows[0] * grid.cols[0], grid.rows[1] * grid.cols[1]))
    if line is None or wanted != (True, True):
        raise UnknownReach
    return Grid((line, line), grid.rows, grid.cols)


def aligned(grid: Grid, source: Grid) -> Read:
    """Return what is read of a source of the same positions, or of one that has lost an axis."""
    for axis, mine, theirs in zip(
        source.axes, (grid.rows, grid.cols), (source.rows, source.cols), strict=True
    ):
        if axis is not None and mine != theirs:
            raise UnknownReach
    return lambda need: (
        need[0] if source.axes[0] is not None else None,
        need[1] if source.axes[1] is not None else None,
    )
