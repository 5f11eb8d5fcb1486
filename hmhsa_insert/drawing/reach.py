"""What each operation of a trace reads for a span of positions: the rules that receptive fields are made of.

A rule holds for a function by name. A function without one, or arguments that a rule does not cover, make the receptive
field unknown; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, prod
from typing import Any

import torch
from torch.fx import Node

Size = tuple[int, ...]
Span = tuple[int, int] | None  # first and last position along an axis; None: all of them
Need = tuple[Span, Span]  # rows and columns
Read = Callable[[Need], Need]
EVERYTHING: Need = (None, None)


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
        """Return an argument; `names` are those by position."""
        values, named = self.node.meta.get("values") or (), self.node.meta.get("named") or {}
        place = names.split().index(name)
        return values[place] if place < len(values) else named.get(name, default)


Rule = Callable[[Operation], tuple[Grid, dict[Node, Read]]]


def reads(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """Return the grid of an operation's value, and what it reads of each input for a need of its own.

    Raises:
        UnknownReach: no rule covers it.
    """
    if all(grid.axes == (None, None) for grid in operation.sources.values()):
        return whole(operation)
    name = str(operation.node.meta.get("function", "")).strip("_")
    name = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "isub": "sub", "rsub": "sub"}.get(
        name, name
    )
    rule = RULES.get(name.removesuffix("_item"))
    if rule is None and _is_pointwise(name):
        rule = same
    if rule is None:
        raise UnknownReach
    return rule(operation)


def whole(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """Every number depends on all of every input."""
    return Grid(), {source: lambda need: EVERYTHING for source in operation.sources}


def same(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """A position reads itself."""
    grid = found_again(operation.grid, operation.shape, operation.other)
    return grid, {source: _aligned(grid, own) for source, own in operation.sources.items()}


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


def _aligned(grid: Grid, source: Grid) -> Read:
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


def _reshaped(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """A reshape keeps positions if what lies before and after them keeps its extent."""
    grid, read = same(operation)
    ((source, before),) = operation.sources.items()
    if _around(before, tuple(source.meta["shape"])) != _around(grid, operation.shape):
        raise UnknownReach
    return grid, read


def _around(grid: Grid, shape: Size) -> tuple[int, int]:
    row, col = grid.axes
    if row is None or col is None or col - row not in (0, 1):
        raise UnknownReach
    return prod(shape[:row]), prod(shape[col + 1 :])


def _pair(value: Any) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value) * (2 // len(value))
    return sides[0], sides[1]


def _windows(
    operation: Operation, read: Callable[[int, tuple[int, int]], tuple[int, int]]
) -> tuple[Grid, dict[Node, Read]]:
    """Return the grid of an N×C×H×W value whose positions read spans of one input; `read` is given the axis, 0 or 1."""
    ((source, grid),) = operation.sources.items()
    if not grid.is_plain or len(operation.shape) != 4 or len(operation.other) != 4:
        raise UnknownReach
    (_, _, *sides), (_, _, *others) = operation.shape, operation.other
    made = Grid(grid.axes, (sides[0], others[0]), (sides[1], others[1]))

    def along(axis: int, span: Span) -> Span:
        return None if span is None or grid.axes[axis] is None else read(axis, span)

    return made, {source: lambda need: (along(0, need[0]), along(1, need[1]))}


_CONV = "input weight bias stride padding dilation groups"


def _convolution(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    weight = operation.argument(_CONV, "weight")
    if not isinstance(weight, tuple):
        weight = operation.node.args[1].meta["shape"]  # type: ignore[union-attr]
    return _kernel(operation, _CONV, weight[2:], (1, 1))


def _pool(names: str) -> Rule:
    def rule(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
        kernel = _pair(operation.argument(names, "kernel_size"))
        return _kernel(operation, names, kernel, kernel)

    return rule


def _kernel(operation: Operation, names: str, kernel: Size, stride: Size) -> tuple[Grid, dict[Node, Read]]:
    steps = _pair(operation.argument(names, "stride", None) or stride)
    dilation = _pair(operation.argument(names, "dilation", 1)) if "dilation" in names else (1, 1)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = operation.argument(names, "padding", 0)
    margin = [r // 2 for r in reach] if padding == "same" else _pair(0 if padding == "valid" else padding)

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        first = span[0] * steps[axis] - margin[axis]
        return first, span[1] * steps[axis] - margin[axis] + reach[axis]

    return _windows(operation, read)


def _transposed(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    names = "input weight bias stride padding output_padding groups dilation"
    weight = operation.argument(names, "weight")
    steps, margin = (
        _pair(operation.argument(names, name, 1 - (name == "padding"))) for name in ("stride", "padding")
    )
    if _pair(operation.argument(names, "dilation", 1)) != (1, 1) or any(
        k < s for k, s in zip(weight[2:], steps, strict=True)
    ):
        raise UnknownReach

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        first = ceil((span[0] + margin[axis] - weight[2 + axis] + 1) / steps[axis])
        return first, floor((span[1] + margin[axis]) / steps[axis])

    return _windows(operation, read)


def _interpolate(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    names = "input size scale_factor mode align_corners recompute_scale_factor antialias"
    mode = operation.argument(names, "mode", "nearest")
    if mode not in ("nearest", "bilinear", "bicubic") or operation.argument(names, "antialias", False):
        raise UnknownReach
    corners = bool(operation.argument(names, "align_corners", False))
    grid = operation.grid
    lengths = ((grid.rows[0], operation.shape[-2]), (grid.cols[0], operation.shape[-1]))

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        old, new = lengths[axis]
        if mode == "nearest":
            return span[0] * old // new, span[1] * old // new
        ratio = (old - 1) / max(new - 1, 1) if corners else old / new
        first, last = (p * ratio if corners else (p + 0.5) * ratio - 0.5 for p in span)
        more = mode == "bicubic"
        return floor(first) - more, ceil(last) + more

    return _windows(operation, read)


def _pad(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    amounts = operation.argument("input pad mode value", "pad")
    ((source, grid),) = operation.sources.items()
    row, col = grid.axes
    if row is None or col is None or grid.is_flat:
        raise UnknownReach
    rank = len(operation.shape)

    def before(axis: int) -> int:
        place = 2 * (rank - 1 - axis)
        return int(amounts[place]) if place < len(amounts) else 0

    top, left = before(row), before(col)
    lengths = [(operation.shape[axis], operation.other[axis]) for axis in (row, col)]
    made = Grid((row, col), lengths[0], lengths[1])
    return made, {source: lambda need: (_moved(need[0], -top), _moved(need[1], -left))}


def _moved(span: Span, by: int) -> Span:
    return span and (span[0] + by, span[1] + by)


def _reduced(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    names = "input dim keepdim"
    dims = operation.argument(names, "dim")
    if dims is None:
        return whole(operation)
    grid, rank = operation.grid, len(next(iter(operation.sources)).meta["shape"])
    gone = {dim % rank for dim in ((dims,) if isinstance(dims, int) else dims)}
    kept = bool(operation.argument(names, "keepdim", False))

    def after(axis: int | None) -> int | None:
        if axis is None or axis in gone:
            return None
        return axis if kept else axis - sum(dim < axis for dim in gone)

    made = Grid((after(grid.axes[0]), after(grid.axes[1])), grid.rows, grid.cols)
    return made, {
        source: lambda need: (
            need[0] if made.axes[0] is not None else None,
            need[1] if made.axes[1] is not None else None,
        )
        for source in operation.sources
    }


def _adaptive(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """An adaptive pool to one row, one column, or both; the other axis keeps its length."""
    grid = operation.grid
    if grid.axes != (2, 3) or len(operation.other) != 4:
        raise UnknownReach
    axes: list[int | None] = []
    for axis, length in ((2, grid.rows), (3, grid.cols)):
        made = (operation.shape[axis], operation.other[axis])
        if made not in ((1, 1), length):
            raise UnknownReach
        axes.append(axis if made == length else None)
    (source,) = operation.sources
    made_grid = Grid((axes[0], axes[1]), grid.rows, grid.cols)
    return made_grid, {source: _aligned(made_grid, Grid((axes[0], axes[1]), grid.rows, grid.cols))}


def _over(names: str, name: str, default: Any = None) -> Rule:
    """Return the rule of a function along one axis, which no row or column may be, such as a concatenation."""

    def rule(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
        axis = operation.argument(names, name, default)
        rank = len(operation.shape)
        if not isinstance(axis, int) or any(axis % rank in grid.axes for grid in operation.sources.values()):
            raise UnknownReach
        return same(operation)

    return rule


def _norm_of_map(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """A norm whose statistics are those of the whole map."""
    grid, found = same(operation)
    return grid, {source: lambda need: EVERYTHING for source in found}


def _layer_norm(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    normalized = operation.argument("input normalized_shape", "normalized_shape")
    count = 1 if isinstance(normalized, int) else len(normalized)
    rank = len(operation.shape)
    if any(axis is not None and axis >= rank - count for axis in operation.grid.axes):
        return _norm_of_map(operation)
    return same(operation)


def _linear(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    if len(operation.sources) > 1 or len(operation.shape) - 1 in operation.grid.axes:
        raise UnknownReach
    return same(operation)


def _attention(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """Products of tokens with tokens: all see all, if their line is an axis of the matrices."""
    for source, grid in operation.sources.items():
        line = grid.axes[0]
        if grid.axes != (None, None) and not (grid.is_flat and line in _last_two(source)):
            raise UnknownReach
    return whole(operation)


def _product(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    if len(operation.sources) > 1:
        return _attention(operation)
    first = operation.node.args[0] in operation.sources
    contracted = len(next(iter(operation.sources)).meta["shape"]) - (1 if first else 2)
    if contracted in operation.grid.axes:
        raise UnknownReach
    return same(operation)


def _last_two(source: Node) -> tuple[int, int]:
    rank = len(source.meta["shape"])
    return rank - 1, rank - 2


def _pixel_shuffle(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    factor = operation.argument("input factor", "factor")
    return _windows(operation, lambda axis, span: (span[0] // factor, span[1] // factor))


def _items(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """Indexing by whole numbers and slices; since lengths are kept, rows and columns are taken whole."""
    index = (operation.node.meta.get("values") or (None, None))[1:]
    parts = index[0] if index and isinstance(index[0], tuple) else index
    if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
        raise UnknownReach
    return same(operation)


def _expanded(operation: Operation) -> tuple[Grid, dict[Node, Read]]:
    """``expand_as``, which reads the size alone of its second input."""
    first = operation.node.args[0]
    alone = replace(operation, sources={n: grid for n, grid in operation.sources.items() if n is first})
    return whole(alone) if all(grid.axes == (None, None) for grid in alone.sources.values()) else same(alone)


RULES: dict[str, Rule] = {
    "conv2d": _convolution,
    "conv_transpose2d": _transposed,
    "max_pool2d": _pool("input kernel_size stride padding dilation ceil_mode"),
    "avg_pool2d": _pool("input kernel_size stride padding ceil_mode"),
    "interpolate": _interpolate,
    "pixel_shuffle": _pixel_shuffle,
    "pad": _pad,
    **dict.fromkeys(("mean", "sum", "amax", "std", "var"), _reduced),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), _over("tensors dim", "dim", 0)),
    "softmax": _over("input dim", "dim"),
    **dict.fromkeys(("group_norm", "instance_norm"), _norm_of_map),
    "layer_norm": _layer_norm,
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("matmul", "bmm"), _product),
    **dict.fromkeys(("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshaped),
    "getitem": _items,
    "expand_as": _expanded,
    **dict.fromkeys(
        (
            *(
                "permute",
                "transpose",
                "contiguous",
                "chunk",
                "split",
                "split_with_sizes",
                "unbind",
                "channel_shuffle",
            ),
            *("batch_norm", "dropout", "dropout2d", "alpha_dropout", "identity", "local_response_norm"),
            *(
                "to",
                "float",
                "half",
                "double",
                "type",
                "type_as",
                "clone",
                "detach",
                "hardtanh",
                "hardsigmoid",
            ),
            *("hardswish", "relu6", "leaky_relu", "elu", "glu", "prelu", "celu", "selu", "softplus"),
        ),
        same,
    ),
}


def _is_pointwise(name: str) -> bool:
    """Return True if torch says so of the operation of this name."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return False
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads())
