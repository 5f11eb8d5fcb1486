"""The block type `transcnn`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, built_by
from hmhsa_insert.blocks.fields import (
    Activation,
    DropPathRate,
    Expansion,
    HeadDim,
    KernelSize,
    Memory,
    Rate,
    head_problems,
)
from hmhsa_insert.blocks.types.hmhsa_pooled import pooled_attention_cost
from hmhsa_insert.blocks.types.irb import irb_cost


class TransCnnOptions(Options):
    """Options of `transcnn`."""

    type: Literal["transcnn"] = "transcnn"
    head_dim: HeadDim = 64
    grid_size: int = Field(7, ge=1, description="side of the cells; 1 is plain global attention")
    pool: int = Field(2, ge=1, description="side of the average pool in front of the global attention")
    expansion: Expansion = 4
    kernel_size: KernelSize = 3
    norm: Literal["batch", "group"] = Field("batch", description="batch as in TransCNN, group as in HAT-Net")
    act: Activation = Field("silu", description="activation of the IRB")
    drop: Rate = Field(0.0, description="probability of dropping an attention channel, in training")
    drop_path: DropPathRate = 0.0
    memory: Memory = "fast"


def _cost(options: TransCnnOptions, inp: MapSize, out_channels: int) -> BlockCost:
    attention = pooled_attention_cost(inp, options.grid_size, options.pool)
    return attention + irb_cost(inp, options.expansion, options.kernel_size, options.norm)


def _refuse(options: TransCnnOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels)


TRANSCNN = BlockType(
    name="transcnn",
    summary="the TransCNN and HAT-Net block: pooled H-MHSA and IRB, both residual",
    options=TransCnnOptions,
    build=built_by("transcnn"),
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
