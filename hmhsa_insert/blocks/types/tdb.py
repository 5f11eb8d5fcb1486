"""The block type `tdb`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options, built_by
from hmhsa_insert.blocks.fields import Activation


class TdbOptions(Options):
    """Options of `tdb`."""

    type: Literal["tdb"] = "tdb"
    norm: Literal["batch", "group"] = Field("batch", description="norm of both branches")
    act: Activation = Field("silu", description="activation of their sum")


def _cost(options: TdbOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Return 9CC′ and CC′ weights, each used at ⌈H/2⌉·⌈W/2⌉ positions, 2C′ biases and 4C′ in two norms."""
    weights = 10 * inp.channels * out_channels
    positions = -(-inp.height // 2) * -(-inp.width // 2)
    return BlockCost(weights + 6 * out_channels, weights * positions)


TDB = BlockType(
    name="tdb",
    summary="two-branch downsampling: 3x3 stride-2 convolution beside a pooled projection",
    options=TdbOptions,
    build=built_by("tdb"),
    cost=_cost,
    shape="half",
)
