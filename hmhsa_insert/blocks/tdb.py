"""TDB, the two-branch downsampling block of arXiv 2106.03180 v1: a strided convolution beside a pooled projection.

Y = act(norm1(Conv3×3 stride 2 (x)) + norm2(Conv1×1(MaxPool2×2(x))))
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.norm_act import ACTIVATIONS, make_norm
from hmhsa_insert.blocks.padded import is_symbolic
from hmhsa_insert.blocks.types.tdb import TdbOptions
from hmhsa_insert.blocks.windows import max_pool


class Tdb(nn.Module):
    """Two-branch downsampling block, N×C×H×W to N×C′×⌈H/2⌉×⌈W/2⌉.

    The pool keeps the last row and column of a map of odd size, as the padded convolution does.

    Args:
        channels: C.
        out_channels: C′.
        norm: "batch" or "group".
        act: a key of `ACTIVATIONS`.

    Source:
        arXiv 2106.03180 v1; the equation at the top of this file.
    """

    def __init__(self, channels: int, out_channels: int, norm: str = "batch", act: str = "silu") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)
        self.residual = nn.Conv2d(channels, out_channels, 1)
        self.norm1 = make_norm(norm, out_channels)
        self.norm2 = make_norm(norm, out_channels)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return Y, N×C′×⌈H/2⌉×⌈W/2⌉."""
        symbolic = is_symbolic(x.shape[2], x.shape[3])
        pooled = self.residual(max_pool(x, 2, 2) if symbolic else F.max_pool2d(x, 2, ceil_mode=True))
        y: torch.Tensor = self.act(self.norm1(self.conv(x)) + self.norm2(pooled))
        return y


def build(options: TdbOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    return Tdb(inp.channels, out_channels, options.norm, options.act)
