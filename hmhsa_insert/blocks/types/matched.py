"""The control `matched`: a residual convolution block with the MACs of another, to a few percent."""

from __future__ import annotations

from functools import cache, partial
from math import isqrt
from typing import Any

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, built_by
from hmhsa_insert.blocks.types.control import Lookup, control_options, cost_of, problems_of

KERNEL = 3
# The wider of the two inner widths is at most this many times the other: a narrower one would be a
# bottleneck.
_MOST_UNEVEN = 2
# Largest relative error of the cost that still counts as matched.
_TOLERANCE = 0.03


def macs_at(channels: int, widths: tuple[int, int]) -> int:
    """Return the multiply–accumulates of one position, which equal the number of weights."""
    first, second = widths
    return (first + second) * channels + KERNEL**2 * first * second


@cache
def matched_widths(channels: int, macs: int, positions: int) -> tuple[int, int]:
    """Return the widths a and b whose cost is nearest to `macs`; of several, those that differ least.

    Args:
        channels: C.
        macs: multiply–accumulates of the block to match, on the whole map.
        positions: H·W.

    Returns:
        a and b.
    """
    target = macs / positions
    area = KERNEL**2
    # With a = b: 9a² + 2aC = target; uneven widths lie on both sides of it.
    even = (isqrt(channels**2 + round(area * target)) - channels) / area
    candidates = []
    for first in range(1, max(1, round(even * _MOST_UNEVEN)) + 1):
        # b solves aC + 9ab + bC = target for this a; the two integers around it are the nearest costs.
        for second in {
            max(1, int((target - first * channels) / (area * first + channels)) + more) for more in (0, 1)
        }:
            if max(first, second) <= _MOST_UNEVEN * min(first, second):
                error = abs(macs_at(channels, (first, second)) * positions - macs)
                candidates.append((error, abs(first - second), first, second))
    _, _, first, second = min(candidates)
    return first, second


def matched_type(lookup: Lookup) -> BlockType:
    """Return the block type `matched`.

    Args:
        lookup: returns the block type of a name; raises BlockError if there is none.
    """
    return BlockType(
        name="matched",
        summary="control: a residual convolution block with the MACs of the block `of`",
        options=control_options("matched", lookup),
        build=built_by("matched"),
        cost=partial(_cost, lookup),
        shape="same",
        refuse=partial(_refuse, lookup),
        needs_size=lambda options: True,
    )


def fitted(lookup: Lookup, options: Any, inp: MapSize) -> tuple[tuple[int, int], int]:
    """Return the widths, and the multiply–accumulates that they were chosen for."""
    macs = cost_of(lookup, options.of, inp).macs
    return matched_widths(inp.channels, macs, inp.height * inp.width), macs


def _cost(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> BlockCost:
    """Return the weights aC + 9ab + bC, used at all H·W positions, and 2(a + b + C) parameters in the norms."""
    widths, _ = fitted(lookup, options, inp)
    weights = macs_at(inp.channels, widths)
    return BlockCost(weights + 2 * (sum(widths) + inp.channels), weights * inp.height * inp.width)


def _refuse(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    problems = problems_of(lookup, options.of, inp)
    if problems:
        return problems
    widths, macs = fitted(lookup, options, inp)
    nearest = macs_at(inp.channels, widths) * inp.height * inp.width
    # Nothing can match a block without counted work, such as one of pools and activations alone.
    if macs and abs(nearest / macs - 1) <= _TOLERANCE:
        return []
    size = f"{inp.channels}×{inp.height}×{inp.width}"
    message = (
        f"no convolution block costs as little as {options.of.type} does on {size}: "
        f"{macs:,} MACs, and the nearest has {nearest:,}"
    )
    return [OptionProblem(("of", "type"), message, "placebo can stand for any block that has parameters")]
