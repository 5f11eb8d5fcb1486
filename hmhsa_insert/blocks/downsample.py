"""Plain downsampling layer: one 3×3 stride-2 convolution and a norm, as in HAT-Net."""

from __future__ import annotations

import torch
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.types.downsample import DownsampleOptions


class Downsample(nn.Module):
    """``norm(Conv3×3 stride 2 (x))``, N×C×H×W to N×C′×⌈H/2⌉×⌈W/2⌉; the convolution has a bias.

    Args:
        channels: C.
        out_channels: C′.
        norm: "batch", "group" or "none".

    Source:
        The released code of HAT-Net (arXiv 2106.03180), between its stages.
    """

    def __init__(self, channels: int, out_channels: int, norm: str = "batch") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)
        self.norm = make_norm(norm, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the smaller map, N×C′×⌈H/2⌉×⌈W/2⌉."""
        y: torch.Tensor = self.norm(self.conv(x))
        return y


def build(options: DownsampleOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    return Downsample(inp.channels, out_channels, options.norm)
