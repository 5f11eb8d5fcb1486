"""SimAM: a gate from the energy by which each position stands out of its channel; it has no parameters.

Source: Yang, Zhang, Li, Xie, "SimAM: A Simple, Parameter-Free Attention Module", ICML 2021, equations 5 to 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SimAM(nn.Module):
    """SimAM: each position is weighted by how much it stands out of its channel; no parameters.

    Args:
        regularization: λ of the energy function.
    """

    def __init__(self, channels: int, regularization: float = 1e-4) -> None:
        super().__init__()
        self.regularization = regularization

    def forward(self, x: Tensor) -> Tensor:
        """Return sigmoid(1/E) · x, N×C×H×W as `x`."""
        others = max(x.shape[2] * x.shape[3] - 1, 1)
        distance = (x - x.mean((2, 3), keepdim=True)).square()
        variance = distance.sum((2, 3), keepdim=True) / others
        inverse_energy = distance / (4 * (variance + self.regularization)) + 0.5
        return x * torch.sigmoid(inverse_energy)
