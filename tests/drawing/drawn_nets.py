"""Networks to draw: a U-Net with long names, a chain of many stages, a network whose forward makes its maps."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Twice(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)


class UNet(nn.Module):
    """Six levels down and five up: twelve columns."""

    def __init__(self, widths: tuple[int, ...] = (8, 8, 16, 16, 32, 32)) -> None:
        super().__init__()
        pairs = zip((3, *widths), widths, strict=False)
        self.contracting_path_of_the_network = nn.ModuleList(Twice(a, b) for a, b in pairs)
        ups = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(Twice(a + b, b) for a, b in ups)
        self.out = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, block in enumerate(self.contracting_path_of_the_network):
            x = block(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), kept.pop()], 1))
        return self.out(x)


class InForward(nn.Module):
    """Makes its maps in its own forward, with no module that returns them."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)
        self.b = nn.Conv2d(8, 16, 3, 2, 1)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.a(x)) * 2
        x = F.relu(self.b(x)) * 2
        return self.fc(x.mean((2, 3)))
