"""Global multi-head self-attention on a map: every token attends to every token.

The baseline of arXiv 2106.03180, without its shortcut:

    A = softmax(Q Kᵀ/√d) V,  Q, K, V = X̂W^q, X̂W^k, X̂W^v,  output = A W^p,  with X̂ = norm(X)

Time is quadratic in the number of tokens; fused attention keeps memory linear.
"""

from __future__ import annotations

import torch
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.looks import Look, whole_map
from hmhsa_insert.blocks.narrow import build_narrow
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.tokens import Pointwise, laid_out_like, self_attention, to_map, to_tokens
from hmhsa_insert.blocks.types.mhsa import MhsaOptions


class Mhsa(Lean):
    """Global multi-head self-attention without a shortcut, N×C×H×W to the same shape.

    Args:
        channels: C.
        head_dim: channels of one head; must divide C.
        norm: the norm in front: "group", "batch" or "none".
        qkv_bias: whether queries, keys and values have a bias.

    Source:
        The baseline of arXiv 2106.03180; the equation at the top of this file.
    """

    def __init__(self, channels: int, head_dim: int, norm: str = "group", qkv_bias: bool = False) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.norm = make_norm(norm, channels)
        self.qkv = Pointwise(channels, 3 * channels, qkv_bias)
        self.proj = Pointwise(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output, N×C×H×W in the memory format of `x`."""
        return self.recomputed(self._attention, x)

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        tokens = to_tokens(self.norm(x))
        mixed = self_attention(self.qkv(tokens.flatten(1, 2)), self.num_heads)
        return laid_out_like(to_map(self.proj(mixed).unflatten(1, tokens.shape[1:3])), x)

    def looks(self, height: int, width: int) -> tuple[Look, ...]:
        """Return its attention on an H×W map, of every position to every position."""
        return (whole_map("all positions", "A = softmax(Q Kᵀ/√d) V; arXiv 2106.03180", height, width),)


def build(options: MhsaOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""

    def made(width: int) -> Mhsa:
        return Mhsa(width, head_size(options.head_dim, width), options.norm, options.qkv_bias)

    block = build_narrow(options.width, inp.channels, made)
    return set_lean(block, options.memory == "lean")
