"""``width: N``: a block at fewer (or more) channels than its host, between two 1×1 convolutions.

The projections of attention cost C² a token: at 1024 channels one block is 29 % of a ResNet-50. The two
convolutions have neither bias nor norm: blocks normalize their own input, and the result is added to a
shortcut.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hmhsa_insert.blocks.residual import ResidualBlock


class Narrow(nn.Module):
    """``expand(block(reduce(x)))``: a block at another width, N×C×H×W to the same shape.

    Args:
        channels: C.
        width: channels at which the block runs.
        block: maps N×width×H×W to the same shape.
    """

    def __init__(self, channels: int, width: int, block: nn.Module) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1, bias=False)
        self.block = block
        self.expand = nn.Conv2d(width, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``expand(block(reduce(x)))``, N×C×H×W."""
        out: torch.Tensor = self.expand(self.block(self.reduce(x)))
        return out


class NarrowResidual(ResidualBlock):
    """``x + expand(branch(reduce(x)))``: a residual block at another width, its shortcut at the full width.

    Args:
        channels: C.
        width: channels at which the block runs.
        block: a residual block of N×width×H×W maps.
    """

    def __init__(self, channels: int, width: int, block: ResidualBlock) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1, bias=False)
        self.block = block
        self.expand = nn.Conv2d(width, channels, 1, bias=False)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``expand(branch(reduce(x)))``, which is added to x; N×C×H×W."""
        out: torch.Tensor = self.expand(self.block.branch(self.reduce(x)))
        return out


def build_narrow(width: int | None, channels: int, make: Callable[[int], nn.Module]) -> nn.Module:
    """Return ``make(channels)``, or the block of `width` channels between its two convolutions."""
    if width is None:
        return make(channels)
    block = make(width)
    if isinstance(block, ResidualBlock):
        return NarrowResidual(channels, width, block)
    return Narrow(channels, width, block)
