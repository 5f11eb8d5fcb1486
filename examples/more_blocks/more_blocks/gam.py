"""GAM: a gate over channels by a perceptron at every position, then one over positions by two convolutions of 7×7.

Source: Liu, Shao, Hoffmann, "Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
2021 (arXiv 2112.05561), equations 1 and 2, figures 2 and 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GAM(nn.Module):
    """GAM: a gate over channels, then a gate over positions, both without pooling.

    Args:
        reduction: channels over hidden channels, r.
        kernel_size: side of the two convolutions, odd.
    """

    def __init__(self, channels: int, reduction: int = 4, kernel_size: int = 7) -> None:
        super().__init__()
        hidden, pad = max(channels // reduction, 1), kernel_size // 2
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size, padding=pad),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, kernel_size, padding=pad),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return M_s(F₂) · F₂ with F₂ = M_c(x) · x, N×C×H×W as `x`."""
        gate = self.channel(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x * torch.sigmoid(gate)
        return x * torch.sigmoid(self.spatial(x))
