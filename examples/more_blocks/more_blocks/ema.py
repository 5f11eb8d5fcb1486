"""EMA: efficient multi-scale attention with cross-spatial learning.

Source: Ouyang et al., "Efficient Multi-Scale Attention Module with Cross-Spatial Learning", ICASSP 2023
(arXiv 2305.13563), section 2 and figure 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """EMA: within groups of channels, a 1×1 and a 3×3 branch weight each other's positions.

    Args:
        groups: of channels, G; their number is the largest divisor of the channels up to it.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.groups = next(count for count in range(min(groups, channels), 0, -1) if channels % count == 0)
        width = channels // self.groups
        self.along = nn.Conv2d(width, width, 1)
        self.local = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return N×C×H×W as `x`."""
        height = x.shape[2]
        grouped = x.unflatten(1, (self.groups, -1)).flatten(0, 1)  # N·G × C/G × H × W
        rows = grouped.mean(3, keepdim=True)
        columns = grouped.mean(2, keepdim=True).transpose(2, 3)
        both = torch.sigmoid(self.along(torch.cat([rows, columns], dim=2)))
        rows, columns = both[:, :, :height], both[:, :, height:].transpose(2, 3)
        one, three = self.norm(grouped * rows * columns), self.local(grouped)
        # Each branch's channels are weighted by the softmax of the other's means over positions.
        weights = self._weighted(one, three) + self._weighted(three, one)
        return (grouped * torch.sigmoid(weights)).unflatten(0, (-1, self.groups)).flatten(1, 2)

    @staticmethod
    def _weighted(by: Tensor, what: Tensor) -> Tensor:
        means = by.mean((2, 3), keepdim=True).softmax(1)
        return (means * what).sum(1, keepdim=True)
