"""Matched: a residual convolution block with the multiply–accumulates of another block on the same map.

The bottleneck of ResNet (arXiv 1512.03385), its two inner widths a and b chosen for the cost:

    f(x) = norm(Conv1×1(relu(norm(Conv3×3(relu(norm(Conv1×1(x))))))))       C → a → b → C

One position costs aC + 9ab + bC. Two widths instead of one come within a fraction of a percent of the target
unless it is tiny: b follows from a, and a is chosen for the least error.
"""

from __future__ import annotations

from functools import cache, partial
from math import isqrt
from typing import Any

import torch
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, ResidualBlock
from hmhsa_insert.blocks.control import Lookup, control_options, cost_of, problems_of
from hmhsa_insert.blocks.norm_act import make_norm

_KERNEL = 3
# The wider of the two inner widths is at most this many times the other: a narrower one would be a
# bottleneck.
_MOST_UNEVEN = 2
# Largest relative error of the cost that still counts as matched.
_TOLERANCE = 0.03


class Matched(ResidualBlock):
    """A residual bottleneck of convolutions, N×C×H×W to the same shape: the control for equal MACs.

    Args:
        channels: C.
        widths: a and b, the two inner numbers of channels.
        ratio: its multiply–accumulates divided by those of the block it replaces; only shown by ``repr``.

    Source:
        The bottleneck of ResNet, arXiv 1512.03385; the equation at the top of this file.
    """

    def __init__(self, channels: int, widths: tuple[int, int], ratio: float) -> None:
        super().__init__()
        first, second = widths
        self.ratio = ratio
        self.conv1 = _conv(channels, first, 1)
        self.norm1 = make_norm("batch", first)
        self.conv2 = _conv(first, second, _KERNEL)
        self.norm2 = make_norm("batch", second)
        self.conv3 = _conv(second, channels, 1)
        self.norm3 = make_norm("batch", channels)
        self.act = nn.ReLU()

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return f(x), N×C×H×W, from x of the same shape."""
        x = self.act(self.norm1(self.conv1(x)))
        x = self.act(self.norm2(self.conv2(x)))
        added: torch.Tensor = self.norm3(self.conv3(x))
        return added

    def extra_repr(self) -> str:
        """Return how close the cost is, for ``repr``."""
        return f"macs_ratio={self.ratio:.4f}"


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def _macs(channels: int, widths: tuple[int, int]) -> int:
    """Return the multiply–accumulates of one position, which equal the number of weights."""
    first, second = widths
    return (first + second) * channels + _KERNEL**2 * first * second


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
    area = _KERNEL**2
    # With a = b: 9a² + 2aC = target; uneven widths lie on both sides of it.
    even = (isqrt(channels**2 + round(area * target)) - channels) / area
    candidates = []
    for first in range(1, max(1, round(even * _MOST_UNEVEN)) + 1):
        # b solves aC + 9ab + bC = target for this a; the two integers around it are the nearest costs.
        for second in {
            max(1, int((target - first * channels) / (area * first + channels)) + more) for more in (0, 1)
        }:
            if max(first, second) <= _MOST_UNEVEN * min(first, second):
                error = abs(_macs(channels, (first, second)) * positions - macs)
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
        build=partial(_build, lookup),
        cost=partial(_cost, lookup),
        shape="same",
        refuse=partial(_refuse, lookup),
        needs_size=lambda options: True,
    )


def _fitted(lookup: Lookup, options: Any, inp: MapSize) -> tuple[tuple[int, int], int]:
    """Return the widths, and the multiply–accumulates that they were chosen for."""
    macs = cost_of(lookup, options.of, inp).macs
    return matched_widths(inp.channels, macs, inp.height * inp.width), macs


def _build(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> nn.Module:
    widths, macs = _fitted(lookup, options, inp)
    return Matched(inp.channels, widths, _macs(inp.channels, widths) * inp.height * inp.width / macs)


def _cost(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> BlockCost:
    """Return the weights aC + 9ab + bC, used at all H·W positions, and 2(a + b + C) parameters in the norms."""
    widths, _ = _fitted(lookup, options, inp)
    weights = _macs(inp.channels, widths)
    return BlockCost(weights + 2 * (sum(widths) + inp.channels), weights * inp.height * inp.width)


def _refuse(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    problems = problems_of(lookup, options.of, inp)
    if problems:
        return problems
    widths, macs = _fitted(lookup, options, inp)
    nearest = _macs(inp.channels, widths) * inp.height * inp.width
    # Nothing can match a block without counted work, such as one of pools and activations alone.
    if macs and abs(nearest / macs - 1) <= _TOLERANCE:
        return []
    size = f"{inp.channels}×{inp.height}×{inp.width}"
    message = (
        f"no convolution block costs as little as {options.of.type} does on {size}: "
        f"{macs:,} MACs, and the nearest has {nearest:,}"
    )
    return [OptionProblem(("of", "type"), message, "placebo can stand for any block that has parameters")]
