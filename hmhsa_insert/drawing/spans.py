"""The rules of operations whose positions read a span of another map: convolutions, pools, resizing, padding."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any

from hmhsa_insert.drawing.grid import EVERYTHING, Grid, Operation, Reads, Rule, Size, Span, UnknownReach


def _pair(value: Any) -> tuple[Any, Any]:
    sides = (value, value) if isinstance(value, int | float) else tuple(value) * (2 // len(value))
    return sides[0], sides[1]


def _windows(operation: Operation, read: Callable[[int, tuple[int, int]], tuple[int, int]]) -> Reads:
    """Return the grid of an N×C×H×W value whose positions read spans of one input; `read` is given the axis, 0 or 1.

    Other inputs, such as the weights of a dynamic convolution, are read whole; they may not be maps.
    """
    source, grid = operation.only()
    if not grid.is_plain or len(operation.shape) != 4 or len(operation.other) != 4:
        raise UnknownReach
    (_, _, *sides), (_, _, *others) = operation.shape, operation.other
    made = Grid(grid.axes, (sides[0], others[0]), (sides[1], others[1]))

    def along(axis: int, span: Span) -> Span:
        return None if span is None or grid.axes[axis] is None else read(axis, span)

    reads_whole = dict.fromkeys(operation.sources, lambda need: EVERYTHING)
    return made, {**reads_whole, source: lambda need: (along(0, need[0]), along(1, need[1]))}


_CONV = "input weight bias stride padding dilation groups"


def _kernel_size(operation: Operation) -> Size:
    """Return rows and columns of a convolution's kernel, whose weights may depend on the image."""
    weight = operation.argument(_CONV, "weight")
    if not isinstance(weight, tuple):
        weight = operation.node.args[1].meta["shape"]  # type: ignore[union-attr]
    return tuple(weight[2:])


def convolution(operation: Operation) -> Reads:
    """A convolution of any kernel, stride, padding and dilation."""
    return _kernel(operation, _CONV, _kernel_size(operation), (1, 1))


def pool(names: str) -> Rule:
    """Return the rule of a pool whose arguments have these names by position."""

    def rule(operation: Operation) -> Reads:
        kernel = _pair(operation.argument(names, "kernel_size"))
        return _kernel(operation, names, kernel, kernel)

    return rule


def _kernel(operation: Operation, names: str, kernel: Size, stride: Size) -> Reads:
    steps = _pair(operation.argument(names, "stride", None) or stride)
    dilation = _pair(operation.argument(names, "dilation", 1)) if "dilation" in names else (1, 1)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = operation.argument(names, "padding", 0)
    margin = [r // 2 for r in reach] if padding == "same" else _pair(0 if padding == "valid" else padding)

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        first = span[0] * steps[axis] - margin[axis]
        return first, span[1] * steps[axis] - margin[axis] + reach[axis]

    return _windows(operation, read)


def transposed(operation: Operation) -> Reads:
    """A transposed convolution whose kernel is no shorter than its stride."""
    names = "input weight bias stride padding output_padding groups dilation"
    kernel = _kernel_size(operation)
    steps, margin = (
        _pair(operation.argument(names, name, 1 - (name == "padding"))) for name in ("stride", "padding")
    )
    if _pair(operation.argument(names, "dilation", 1)) != (1, 1) or any(
        k < s for k, s in zip(kernel, steps, strict=True)
    ):
        raise UnknownReach

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        first = ceil((span[0] + margin[axis] - kernel[axis] + 1) / steps[axis])
        return first, floor((span[1] + margin[axis]) / steps[axis])

    return _windows(operation, read)


def interpolate(operation: Operation) -> Reads:
    """Resizing by the nearest, two or four positions along each axis."""
    names = "input size scale_factor mode align_corners recompute_scale_factor antialias"
    mode = operation.argument(names, "mode", "nearest")
    if mode not in ("nearest", "bilinear", "bicubic") or operation.argument(names, "antialias", False):
        raise UnknownReach
    corners = bool(operation.argument(names, "align_corners", False))
    grid = operation.grid
    lengths = ((grid.rows[0], operation.shape[-2]), (grid.cols[0], operation.shape[-1]))
    factors = None
    if not operation.argument(names, "recompute_scale_factor", False):
        # Positions are then scaled by the factor itself, from which that of the lengths differs a little.
        factors = operation.argument(names, "scale_factor")
    ratios = [Fraction(*pair) for pair in lengths] if factors is None else [1 / f for f in _pair(factors)]

    def read(axis: int, span: tuple[int, int]) -> tuple[int, int]:
        (old, new), ratio = lengths[axis], ratios[axis]
        if mode == "nearest":
            return floor(span[0] * ratio), floor(span[1] * ratio)
        if corners:
            ratio = (old - 1) / max(new - 1, 1)
        first, last = (p * ratio if corners else (p + 0.5) * ratio - 0.5 for p in span)
        more = mode == "bicubic"
        return floor(first) - more, ceil(last) + more

    return _windows(operation, read)


def pad(operation: Operation) -> Reads:
    """Padding of any kind: positions are counted from the edge of the input."""
    amounts = operation.argument("input pad mode value", "pad")
    source, grid = operation.only()
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


def pixel_shuffle(operation: Operation) -> Reads:
    """Channels become positions: several read the same one."""
    factor = operation.argument("input factor", "factor")
    return _windows(operation, lambda axis, span: (span[0] // factor, span[1] // factor))
