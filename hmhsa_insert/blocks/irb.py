"""IRB, the inverted residual bottleneck: 1×1 expand, depthwise k×k, 1×1 project, without its shortcut.

arXiv 2106.03180. With "batch" the order is TransCNN's: conv, norm and activation twice, then conv and
norm. With "group" it is HAT-Net's: norm, conv, activation, conv, activation, conv, norm. The keys are those of the
released checkpoints.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.norm_act import ACTIVATIONS, make_norm
from hmhsa_insert.blocks.tokens import in_pieces
from hmhsa_insert.blocks.types.irb import IrbOptions


class Irb(Lean):
    """Inverted residual bottleneck without its shortcut or biases, N×C×H×W to the same shape.

    Args:
        channels: C.
        expansion: ratio of hidden channels to C.
        kernel_size: k, side of the depthwise kernel; must be odd.
        norm: "batch" for the order of TransCNN, "group" for that of HAT-Net.
        act: a key of `ACTIVATIONS`.

    Source:
        arXiv 2106.03180 and the released code; the description at the top of this file.
    """

    def __init__(
        self, channels: int, expansion: int = 4, kernel_size: int = 3, norm: str = "batch", act: str = "silu"
    ) -> None:
        super().__init__()
        hidden = expansion * channels
        activation = ACTIVATIONS[act]
        expand = nn.Conv2d(channels, hidden, 1, bias=False)
        depthwise = nn.Conv2d(
            hidden, hidden, kernel_size, padding=kernel_size // 2, groups=hidden, bias=False
        )
        project = nn.Conv2d(hidden, channels, 1, bias=False)
        if norm == "batch":
            self.conv1 = nn.Sequential(expand, make_norm(norm, hidden), activation())
            self.conv2 = nn.Sequential(depthwise, make_norm(norm, hidden), activation())
        else:
            self.conv1 = nn.Sequential(make_norm(norm, channels), expand, activation())
            self.conv2 = nn.Sequential(depthwise, activation())
        self.conv3 = nn.Sequential(project, make_norm(norm, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output, N×C×H×W."""
        groups = (self.conv1, self.conv2, self.conv3)
        # An edit may be hooked to a group, which the lean order does not call as a whole.
        hooked = any(group._forward_hooks or group._forward_pre_hooks for group in groups)
        if self.lean and torch.is_grad_enabled() and not hooked:
            return self._with_convolutions_kept(x)
        return in_pieces(self, self._whole, x)

    def _whole(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv3(self.conv2(self.conv1(x)))
        return out

    def _with_convolutions_kept(self, x: torch.Tensor) -> torch.Tensor:
        """Do the same in pieces that end with a convolution, so that only norms and activations run again."""
        piece: list[nn.Module] = []
        for layer in (*self.conv1, *self.conv2, *self.conv3):
            piece.append(layer)
            if isinstance(layer, nn.Conv2d):
                x, piece = self.recomputed(partial(_run, piece), x), []
        return _run(piece, x)


def _run(layers: list[nn.Module], x: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def build(options: IrbOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    block = Irb(inp.channels, options.expansion, options.kernel_size, options.norm, options.act)
    return set_lean(block, options.memory == "lean")
