"""The residual protocol: a block whose published form ends in "+ x" says what it adds."""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """Base class of blocks whose published form ends in "+ x"; subclasses define `branch`.

    :class:`~hmhsa_insert.blocks.identity.Residual` scales the branch alone. Computing it as
    ``forward(x) - x`` would lose its low bits.
    """

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the block adds to `x`; both N×C×H×W."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x + branch(x)``, N×C×H×W."""
        return x + self.branch(x)
