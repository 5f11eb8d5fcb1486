"""The block type `irb`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options, built_by
from hmhsa_insert.blocks.fields import Activation, Expansion, KernelSize, Memory


class IrbOptions(Options):
    """Options of `irb`."""

    type: Literal["irb"] = "irb"
    expansion: Expansion = 4
    kernel_size: KernelSize = 3
    norm: Literal["batch", "group"] = Field("batch", description="batch as in TransCNN, group as in HAT-Net")
    act: Activation = Field("silu", description="activation after the first two convolutions")
    memory: Memory = "fast"


def irb_cost(inp: MapSize, expansion: int, kernel_size: int, norm: str) -> BlockCost:
    """Return the cost of ``Irb``, with h = expansion·C hidden channels.

    The convolutions hold 2Ch + k²h weights, each used at all H·W positions. The norms hold 2h + 2h + 2C
    parameters with "batch", 2C + 2C with "group".
    """
    hidden = expansion * inp.channels
    weights = 2 * inp.channels * hidden + kernel_size**2 * hidden
    norms = 4 * hidden + 2 * inp.channels if norm == "batch" else 4 * inp.channels
    return BlockCost(weights + norms, weights * inp.height * inp.width)


def _cost(options: IrbOptions, inp: MapSize, out_channels: int) -> BlockCost:
    return irb_cost(inp, options.expansion, options.kernel_size, options.norm)


IRB = BlockType(
    name="irb",
    summary="inverted residual bottleneck: 1x1 expand, depthwise convolution, 1x1 project",
    options=IrbOptions,
    build=built_by("irb"),
    cost=_cost,
    shape="same",
)
