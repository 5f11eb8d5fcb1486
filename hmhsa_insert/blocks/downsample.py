"""Plain downsampling layer: one 3×3 stride-2 convolution and a norm, as in HAT-Net."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options
from hmhsa_insert.blocks.norm_act import make_norm, norm_params


class DownsampleOptions(Options):
    """Options of `downsample`."""

    type: Literal["downsample"] = "downsample"
    norm: Literal["batch", "group", "none"] = Field("batch", description="norm after the convolution")


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


def _build(options: DownsampleOptions, inp: MapSize, out_channels: int) -> nn.Module:
    return Downsample(inp.channels, out_channels, options.norm)


def _cost(options: DownsampleOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Return 9CC′ weights, each used at ⌈H/2⌉·⌈W/2⌉ positions, C′ biases and 2C′ in the norm."""
    weights = 9 * inp.channels * out_channels
    positions = -(-inp.height // 2) * -(-inp.width // 2)
    params = weights + out_channels + norm_params(options.norm, out_channels)
    return BlockCost(params, weights * positions)


DOWNSAMPLE = BlockType(
    name="downsample",
    summary="plain downsampling: 3x3 stride-2 convolution and norm",
    options=DownsampleOptions,
    build=_build,
    cost=_cost,
    shape="half",
)
