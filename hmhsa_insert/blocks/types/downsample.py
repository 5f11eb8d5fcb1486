"""The block type `downsample`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options, built_by
from hmhsa_insert.blocks.types.costs import norm_params


class DownsampleOptions(Options):
    """Options of `downsample`."""

    type: Literal["downsample"] = "downsample"
    norm: Literal["batch", "group", "none"] = Field("batch", description="norm after the convolution")


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
    build=built_by("downsample"),
    cost=_cost,
    shape="half",
)
