"""The parts of cost formulas that several blocks share."""

from __future__ import annotations

from collections.abc import Callable

from hmhsa_insert.blocks.base import BlockCost, MapSize


def norm_params(name: str, channels: int) -> int:
    """Return how many parameters the norm called `name` learns: a scale and a shift per channel, or none."""
    return 0 if name == "none" else 2 * channels


def narrow_cost(width: int | None, inp: MapSize, cost: Callable[[MapSize], BlockCost]) -> BlockCost:
    """Return the cost of a block at another width: the block's, and 2·C·width weights used at H·W positions."""
    if width is None:
        return cost(inp)
    convs = 2 * inp.channels * width
    return cost(MapSize(width, inp.height, inp.width)) + BlockCost(convs, convs * inp.height * inp.width)


def attention_pairs(height: int, width: int, grid: int) -> int:
    """Return the number of (query, key) pairs of attention inside the cells of an H×W map.

    A cell of h×w tokens has (hw)². Cells are a product of spans, so the sum factors into (Σh²)(Σw²).
    """
    down = sum(count * side * side for _, count, side in spans(height, grid))
    across = sum(count * side * side for _, count, side in spans(width, grid))
    return down * across


def spans(length: int, grid: int) -> list[tuple[int, int, int]]:
    """Cut a line into (index of the first cell, cells, tokens per cell): the full cells, then the rest."""
    full, rest = length // grid, length % grid  # divmod refuses the symbolic sizes of a compiler
    return [span for span in ((0, full, grid), (full, 1, rest)) if span[1] and span[2]]
