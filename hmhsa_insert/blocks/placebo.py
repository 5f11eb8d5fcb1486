"""Placebo: exactly as many parameters as another block, without any mixing between positions.

For each token t of C channels, with t̂ its layer norm without learned scale:

    f(t) = W₂ gelu(W₁ t̂ + b₁) + s ⊙ t̂ + b

W₁, b₁ and W₂ have as many hidden units h, of 2C + 1 parameters each, as fit into the P parameters of the
block that it replaces. The rest, fewer than 2C + 1, are s for the first channels and, if all channels have
one, b for the first channels. So f has P parameters, and all are trained. It is the MLP of a transformer
block without the attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.table import block_type
from hmhsa_insert.blocks.tokens import Pointwise, laid_out_like, to_map, to_tokens
from hmhsa_insert.blocks.types.control import cost_of
from hmhsa_insert.blocks.types.placebo import hidden_and_rest

# As in this project's other norms over channels.
_EPS = 1e-6


class Placebo(ResidualBlock):
    """An MLP for each position, N×C×H×W to the same shape: the control for equal parameters.

    Args:
        channels: C.
        num_params: P, the exact number of its parameters, at least 1.

    Source:
        A control of this project; the equation at the top of this file.
    """

    def __init__(self, channels: int, num_params: int) -> None:
        super().__init__()
        hidden, rest = hidden_and_rest(channels, num_params)
        self.hidden = hidden
        if hidden:
            self.fc1 = Pointwise(channels, hidden)
            self.fc2 = Pointwise(hidden, channels, bias=False)
        scaled = min(rest, channels)  # the rest is below 2C + 1: at most one s and one b for each channel
        self.scale = nn.Parameter(torch.empty(scaled)) if scaled else None
        self.shift = nn.Parameter(torch.zeros(rest - scaled)) if rest > scaled else None
        if self.scale is not None:
            nn.init.normal_(self.scale, std=0.02)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return f of every position, N×C×H×W in the memory format of `x`."""
        tokens = F.layer_norm(to_tokens(x), (x.shape[1],), eps=_EPS)
        parts = []
        if self.hidden:
            parts.append(self.fc2(F.gelu(self.fc1(tokens))))
        if self.scale is not None:
            parts.append(tokens * _filled(self.scale, x.shape[1]))
        added: torch.Tensor = sum(parts, torch.zeros_like(tokens)) if len(parts) != 1 else parts[0]
        if self.shift is not None:
            added = added + _filled(self.shift, x.shape[1])
        return laid_out_like(to_map(added), x)

    def extra_repr(self) -> str:
        """Return the sizes, for ``repr``."""
        return f"hidden={self.hidden}, num_params={sum(p.numel() for p in self.parameters())}"


def _filled(values: torch.Tensor, channels: int) -> torch.Tensor:
    """Return `values` for the first channels and zero for the others."""
    return F.pad(values, (0, channels - len(values)))


def build(options: Any, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    return Placebo(inp.channels, cost_of(block_type, options.of, inp).num_params)
