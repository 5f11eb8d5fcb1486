"""The block of TransCNN and HAT-Net (arXiv 2106.03180): pooled H-MHSA, then IRB, each with a shortcut.

A = x + DropPath(Attention(x))
Y = A + DropPath(IRB(A))
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from timm.layers import DropPath
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, ResidualBlock
from hmhsa_insert.blocks.fields import (
    Activation,
    DropPathRate,
    Expansion,
    HeadDim,
    KernelSize,
    Memory,
    Rate,
    head_problems,
    head_size,
)
from hmhsa_insert.blocks.hmhsa_pooled import HmhsaPooled, pooled_attention_cost
from hmhsa_insert.blocks.irb import Irb, irb_cost
from hmhsa_insert.blocks.lean import set_lean


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


class TransCnn(ResidualBlock):
    """Pooled H-MHSA, then an IRB, each with a shortcut, N×C×H×W to the same shape.

    Args:
        attn: the attention, N×C×H×W to the same shape.
        conv: the IRB, N×C×H×W to the same shape.
        drop_path: probability of dropping either branch for one image, in training.

    Source:
        arXiv 2106.03180 and the released code; the equations at the top of this file.
    """

    def __init__(self, attn: HmhsaPooled, conv: Irb, drop_path: float = 0.0) -> None:
        super().__init__()
        self.attn = attn
        self.conv = conv
        self.drop_path = DropPath(drop_path)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the two branches add to x, N×C×H×W."""
        attended = self.drop_path(self.attn(x))
        added: torch.Tensor = attended + self.drop_path(self.conv(x + attended))
        return added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return Y, N×C×H×W, with one addition less than ``x + branch(x)``: the released code's rounding."""
        x = x + self.drop_path(self.attn(x))
        y: torch.Tensor = x + self.drop_path(self.conv(x))
        return y


def _build(options: TransCnnOptions, inp: MapSize, out_channels: int) -> nn.Module:
    attn = HmhsaPooled(
        inp.channels,
        head_size(options.head_dim, inp.channels),
        options.grid_size,
        options.pool,
        options.norm,
        options.drop,
    )
    conv = Irb(inp.channels, options.expansion, options.kernel_size, options.norm, options.act)
    return set_lean(TransCnn(attn, conv, options.drop_path), options.memory == "lean")


def _cost(options: TransCnnOptions, inp: MapSize, out_channels: int) -> BlockCost:
    attention = pooled_attention_cost(inp, options.grid_size, options.pool)
    return attention + irb_cost(inp, options.expansion, options.kernel_size, options.norm)


def _refuse(options: TransCnnOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels)


TRANSCNN = BlockType(
    name="transcnn",
    summary="the TransCNN and HAT-Net block: pooled H-MHSA and IRB, both residual",
    options=TransCnnOptions,
    build=_build,
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
