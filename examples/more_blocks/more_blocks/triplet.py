"""Triplet attention: gates over (H, W), (C, W) and (H, C), each from the pooled third axis, averaged.

Source: Misra et al., "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021 (arXiv 2010.03045),
equations 1, 4 and 5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Gate(nn.Module):
    """A gate over the last two axes of a tensor from the largest value and the mean of its second (Z-pool)."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.norm(self.conv(pooled)))


class TripletAttention(nn.Module):
    """Triplet attention: the mean of three gated maps, one for each pair of axes.

    Args:
        kernel_size: side of each gate's convolution, odd.
    """

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.over_rows, self.over_columns = _Gate(kernel_size), _Gate(kernel_size)
        self.over_channels = _Gate(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return N×C×H×W as `x`."""
        rows = self.over_rows(x.transpose(1, 2)).transpose(1, 2)  # pools H, gates (C, W)
        columns = self.over_columns(x.transpose(1, 3)).transpose(1, 3)  # pools W, gates (H, C)
        return (rows + columns + self.over_channels(x)) / 3
