"""The identity form of a block: ``y = x + gamma * f(x)``, exactly x while gamma is zero."""

from __future__ import annotations

import torch
from torch import nn

from hmhsa_insert.blocks.residual import ResidualBlock


class Residual(nn.Module):
    """A block beside a shortcut, scaled for each channel: ``y = x + gamma * f(x)``, N×C×H×W.

    f is the branch of a :class:`ResidualBlock`, or any other block as a whole. y has the dtype and memory
    format of x, and equals x exactly while gamma is 0 and f(x) is finite. Only gamma starts at zero: if the
    last projection of the block were zero too, neither would ever get a gradient.

    Args:
        block: maps N×C×H×W to the same shape.
        channels: C.
        identity: whether gamma is learned, starting at zero; without it, ``y = x + f(x)``.

    Source:
        LayerScale, arXiv 2103.17239, which starts at small values instead of zero.
    """

    gamma: nn.Parameter | None

    def __init__(self, block: nn.Module, channels: int, identity: bool = True) -> None:
        super().__init__()
        self.block = block
        if identity:
            self.gamma = nn.Parameter(torch.zeros(channels))
        else:
            self.register_parameter("gamma", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y, N×C×H×W, from x of the same shape."""
        f = self.block.branch(x) if isinstance(self.block, ResidualBlock) else self.block(x)
        if self.gamma is not None:
            f = self.gamma[:, None, None] * f
        # Under autocast the branch and gamma may be wider than x; the host's layers expect x's own dtype.
        return x + f.to(x.dtype)

    def extra_repr(self) -> str:
        """Return whether gamma is learned, for ``repr``."""
        return f"identity={self.gamma is not None}"
