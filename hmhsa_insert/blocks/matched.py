"""Matched: a residual convolution block with the multiply–accumulates of another block on the same map.

The bottleneck of ResNet (arXiv 1512.03385), its two inner widths a and b chosen for the cost:

    f(x) = norm(Conv1×1(relu(norm(Conv3×3(relu(norm(Conv1×1(x))))))))       C → a → b → C

One position costs aC + 9ab + bC. Two widths instead of one come within a fraction of a percent of the target
unless it is tiny: b follows from a, and a is chosen for the least error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.table import block_type
from hmhsa_insert.blocks.types.matched import KERNEL, fitted, macs_at


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
        self.conv2 = _conv(first, second, KERNEL)
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


def build(options: Any, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    widths, macs = fitted(block_type, options, inp)
    return Matched(inp.channels, widths, macs_at(inp.channels, widths) * inp.height * inp.width / macs)
