"""What each operation of a trace reads for a span of positions: the rules that receptive fields are made of.

A rule holds for a function by name. A function without one, or arguments that a rule does not cover, make the receptive
field unknown; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch.fx import Node

from hmhsa_insert.drawing.grid import (
    EVERYTHING,
    Grid,
    Operation,
    Reads,
    Rule,
    Size,
    UnknownReach,
    aligned,
    same,
    whole,
)
from hmhsa_insert.drawing.spans import convolution, interpolate, pad, pixel_shuffle, pool, transposed


def reads(operation: Operation) -> Reads:
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


def _reshaped(operation: Operation) -> Reads:
    """A reshape keeps positions if what lies before and after them keeps its extent."""
    grid, read = same(operation)
    source, before = operation.only()
    if _around(before, tuple(source.meta["shape"])) != _around(grid, operation.shape):
        raise UnknownReach
    return grid, read


def _around(grid: Grid, shape: Size) -> tuple[int, int]:
    row, col = grid.axes
    if row is None or col is None or col - row not in (0, 1):
        raise UnknownReach
    return prod(shape[:row]), prod(shape[col + 1 :])


def _reduced(operation: Operation) -> Reads:
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


def _adaptive(operation: Operation) -> Reads:
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
    return made_grid, {source: aligned(made_grid, Grid((axes[0], axes[1]), grid.rows, grid.cols))}


def _over(names: str, name: str, default: Any = None) -> Rule:
    """Return the rule of a function along one axis, which no row or column may be, such as a concatenation."""

    def rule(operation: Operation) -> Reads:
        axis = operation.argument(names, name, default)
        rank = len(operation.shape)
        if not isinstance(axis, int) or any(axis % rank in grid.axes for grid in operation.sources.values()):
            raise UnknownReach
        return same(operation)

    return rule


def _norm_of_map(operation: Operation) -> Reads:
    """A norm whose statistics are those of the whole map."""
    grid, found = same(operation)
    return grid, {source: lambda need: EVERYTHING for source in found}


def _norm_unless_stored(flag: str, by_default: bool) -> Rule:
    """Return the rule of a norm whose statistics are those of the whole map if `flag`, else stored ones."""

    def rule(operation: Operation) -> Reads:
        of_map = operation.argument(f"input mean variance weight bias {flag}", flag, by_default)
        return _norm_of_map(operation) if of_map else same(operation)

    return rule


def _layer_norm(operation: Operation) -> Reads:
    normalized = operation.argument("input normalized_shape", "normalized_shape")
    count = 1 if isinstance(normalized, int) else len(normalized)
    rank = len(operation.shape)
    if any(axis is not None and axis >= rank - count for axis in operation.grid.axes):
        return _norm_of_map(operation)
    return same(operation)


def _linear(operation: Operation) -> Reads:
    if len(operation.sources) > 1 or len(operation.shape) - 1 in operation.grid.axes:
        raise UnknownReach
    return same(operation)


def _attention(operation: Operation) -> Reads:
    """Products of tokens with tokens: all see all, if their line is an axis of the matrices."""
    for source, grid in operation.sources.items():
        line = grid.axes[0]
        if grid.axes != (None, None) and not (grid.is_flat and line in _last_two(source)):
            raise UnknownReach
    return whole(operation)


def _product(operation: Operation) -> Reads:
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


def _items(operation: Operation) -> Reads:
    """Indexing by whole numbers and slices; since lengths are kept, rows and columns are taken whole."""
    index = (operation.node.meta.get("values") or (None, None))[1:]
    parts = index[0] if index and isinstance(index[0], tuple) else index
    if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
        raise UnknownReach
    return same(operation)


def _expanded(operation: Operation) -> Reads:
    """``expand_as``, which reads the size alone of its second input."""
    first = operation.node.args[0]
    alone = replace(operation, sources={n: grid for n, grid in operation.sources.items() if n is first})
    return whole(alone) if all(grid.axes == (None, None) for grid in alone.sources.values()) else same(alone)


RULES: dict[str, Rule] = {
    "conv2d": convolution,
    "conv_transpose2d": transposed,
    "max_pool2d": pool("input kernel_size stride padding dilation ceil_mode"),
    "avg_pool2d": pool("input kernel_size stride padding ceil_mode"),
    "interpolate": interpolate,
    "pixel_shuffle": pixel_shuffle,
    "pad": pad,
    **dict.fromkeys(("mean", "sum", "amax", "std", "var"), _reduced),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), _over("tensors dim", "dim", 0)),
    "softmax": _over("input dim", "dim"),
    "group_norm": _norm_of_map,
    "instance_norm": _norm_unless_stored("use_input_stats", True),
    "batch_norm": _norm_unless_stored("training", False),
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
            *("dropout", "dropout2d", "alpha_dropout", "identity", "local_response_norm"),
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
