"""The factory's own network: a small residual CNN for gray pictures of cells."""

from __future__ import annotations

import torch
from torch import nn


def conv(inp: int, out: int, stride: int = 1) -> nn.Sequential:
    """Return a 3×3 convolution with its norm."""
    return nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out))


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inp: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inp, out, stride), conv(out, out)
        self.shortcut = conv(inp, out, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a map of `out` channels."""
        y = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(y + self.shortcut(x))


class CellNet(nn.Module):
    """A stem of stride 4, three stages of two blocks, and a linear classifier."""

    def __init__(self, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(in_chans, 16, 2), nn.ReLU(), conv(16, 16, 2), nn.ReLU())
        self.body = nn.Sequential(
            *(Block(16, 16, 1), Block(16, 16, 1)),
            *(Block(16, 32, 2), Block(32, 32, 1)),
            *(Block(32, 64, 2), Block(64, 64, 1)),
        )
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a score for each class."""
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def cellnet(num_classes: int = 2, in_chans: int = 1) -> CellNet:
    """Return the network; this is the factory that commands name, as ``cellnet:cellnet``."""
    return CellNet(num_classes, in_chans)
