"""The block of TransCNN and HAT-Net (arXiv 2106.03180): pooled H-MHSA, then IRB, each with a shortcut.

A = x + DropPath(Attention(x))
Y = A + DropPath(IRB(A))
"""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.hmhsa_pooled import HmhsaPooled
from hmhsa_insert.blocks.irb import Irb
from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.types.transcnn import TransCnnOptions


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


def build(options: TransCnnOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
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
