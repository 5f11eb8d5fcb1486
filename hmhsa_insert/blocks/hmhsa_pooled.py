"""H-MHSA as the authors released it: attention in cells, then every token attends to the pooled map.

TransCNN v1.0 and HAT-Net (arXiv 2106.03180 v3-v5; the released code). With grid g and pool p:

    L = Attention_g(norm(X))                    every projection a 1×1 convolution with bias
    G = grid_norm(X + L)
    A = softmax(Q Kᵀ/√d) V                      Q from G; K, V from ds_norm(AvgPool_p(G))
    output = Dropout2d((A + G) W^p)

With g = 1 it is plain global attention: Attention(norm(X)) W^p.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.fields import HeadDim, Memory, Rate, Width, head_problems, head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.looks import Look, whole_map
from hmhsa_insert.blocks.narrow import build_narrow, narrow_cost
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.padded import PaddedCells, is_symbolic
from hmhsa_insert.blocks.partition import Cells, attention_pairs, cells_of
from hmhsa_insert.blocks.tokens import (
    Pointwise,
    attend_cells,
    cross_attention,
    in_pieces,
    laid_out_like,
    self_attention,
    to_map,
    to_tokens,
)

_SOURCE = "arXiv 2106.03180 v3 to v5"


class HmhsaPooledOptions(Options):
    """Options of `hmhsa_pooled`."""

    type: Literal["hmhsa_pooled"] = "hmhsa_pooled"
    head_dim: HeadDim = 64
    grid_size: int = Field(7, ge=1, description="side of the cells; 1 is plain global attention")
    pool: int = Field(2, ge=1, description="side of the average pool in front of the global attention")
    norm: Literal["group", "batch"] = Field("group", description="group as in HAT-Net, batch as in TransCNN")
    drop: Rate = Field(0.0, description="probability of dropping an output channel, in training")
    width: Width = None
    memory: Memory = "fast"


class HmhsaPooled(Lean):
    """Local attention in cells, then global attention to the pooled map, N×C×H×W to the same shape.

    It has no shortcut, and its state dict has the keys of the released weights. Cells and pools at the edge
    of the map use the tokens that are there: the released code refuses such sizes in its cells and drops the
    edge in its pool. Where the sizes divide, the outputs are equal to those of the released code.

    Args:
        channels: C.
        head_dim: channels of one head; must divide C.
        grid_size: g, side of the cells in pixels of the map, at least 1; 1 is plain global attention.
        pool: p, side of the average pool in pixels of the map, at least 1.
        norm: "group" or "batch".
        drop: probability of dropping an output channel, in training.

    Source:
        arXiv 2106.03180 v3 to v5 and the released code; the equations at the top of this file.
    """

    def __init__(
        self, channels: int, head_dim: int, grid_size: int, pool: int, norm: str = "group", drop: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.grid_size = grid_size
        self.pool = pool
        self.norm = make_norm(norm, channels)
        self.qkv = Pointwise(channels, 3 * channels)
        self.proj = Pointwise(channels, channels)
        if grid_size > 1:
            self.grid_norm = make_norm(norm, channels)
            self.ds_norm = make_norm(norm, channels)
            self.q = Pointwise(channels, channels)
            self.kv = Pointwise(channels, 2 * channels)
        self.drop = nn.Dropout2d(drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output, N×C×H×W in the memory format of `x`."""
        mixed = in_pieces(self, partial(self.recomputed, self._attention), x)
        # Dropout stays outside of what is recomputed, so that no random state has to be kept for it.
        dropped: torch.Tensor = self.drop(laid_out_like(mixed, x))
        return dropped

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        # Copied to channels_last once, before the norm: X and norm(X) are both needed as tokens.
        tokens = to_tokens(x)
        normed = to_tokens(self.norm(to_map(tokens)))
        if self.grid_size == 1:
            mixed = self_attention(self.qkv(normed.flatten(1, 2)), self.num_heads)
        else:
            mixed = self._local_and_global(tokens, normed)
        return to_map(self.proj(mixed).unflatten(1, tokens.shape[1:3]))

    def _local_and_global(self, tokens: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        """Return A + G, N×(H·W)×C, from X and norm(X), both N×H×W×C."""
        cells = cells_of(tokens, self.grid_size)
        attended = attend_cells(self, cells.cut(normed), self.qkv, self.num_heads, mask=cells.mask)
        local = cells.join(attended)
        gathered = self.grid_norm(to_map(tokens + local))
        pooled = self._pooled(gathered)
        kv = self.kv(to_tokens(self.ds_norm(pooled)).flatten(1, 2))
        every = to_tokens(gathered).flatten(1, 2)
        return cross_attention(self.q(every), kv, self.num_heads) + every

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if is_symbolic(x.shape[2], x.shape[3]):
            cells = PaddedCells(to_tokens(x), self.pool)
            return to_map(cells.gather([cells.mean(part) for part in cells.cut(to_tokens(x))]))
        # Pools at the edge average over the tokens they have; padding would pull keys and values towards
        # zero.
        return F.avg_pool2d(x, self.pool, ceil_mode=True, count_include_pad=False)

    def looks(self, height: int, width: int) -> tuple[Look, ...]:
        """Return its attentions on an H×W map: in cells, then from every position to the pooled map."""
        if self.grid_size == 1:
            return (whole_map("all positions", f"Attention(norm(X)); {_SOURCE}", height, width),)
        cells = Cells(height, width, self.grid_size)
        everywhere = Cells(height, width, max(height, width))
        local, pooled = f"cells of {cells.grid}×{cells.grid}", f"the map pooled by {self.pool}"
        return (
            Look(local, f"L = Attention_g(norm(X)); {_SOURCE}", height, width, cells),
            Look(pooled, f"A = softmax(Q Kᵀ/√d) V; {_SOURCE}", height, width, everywhere, pooled=self.pool),
        )

    def extra_repr(self) -> str:
        """Return the sizes, for ``repr``."""
        return f"grid_size={self.grid_size}, pool={self.pool}, num_heads={self.num_heads}"


def _build(options: HmhsaPooledOptions, inp: MapSize, out_channels: int) -> nn.Module:
    settings = (options.grid_size, options.pool, options.norm, options.drop)
    block = build_narrow(
        options.width,
        inp.channels,
        lambda width: HmhsaPooled(width, head_size(options.head_dim, width), *settings),
    )
    return set_lean(block, options.memory == "lean")


def pooled_attention_cost(inp: MapSize, grid_size: int, pool: int) -> BlockCost:
    """Return the cost of :class:`HmhsaPooled` on N = H·W tokens, pooled to n.

    MACs: 3NC² for q, k, v in cells, 2C for each of their (query, key) pairs, NC² for the global q, 2nC² for k
    and v, 2NnC for the global attention, NC² for W^p. Parameters: (3 + 1 + 2 + 1)C² in the projections, as many
    C in their biases, and 6C in three norms. With grid 1: 3NC² + 2N²C + NC², and 4C² + 4C + 2C parameters.
    """
    channels, num_tokens = inp.channels, inp.height * inp.width
    square = channels**2
    if grid_size == 1:
        return BlockCost(4 * square + 6 * channels, 4 * num_tokens * square + 2 * num_tokens**2 * channels)
    pooled = -(-inp.height // pool) * -(-inp.width // pool)
    pairs = attention_pairs(inp.height, inp.width, grid_size) + num_tokens * pooled
    macs = 5 * num_tokens * square + 2 * pooled * square + 2 * channels * pairs
    return BlockCost(7 * square + 13 * channels, macs)


def _cost(options: HmhsaPooledOptions, inp: MapSize, out_channels: int) -> BlockCost:
    return narrow_cost(
        options.width, inp, lambda inner: pooled_attention_cost(inner, options.grid_size, options.pool)
    )


def _refuse(options: HmhsaPooledOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels, options.width)


HMHSA_POOLED = BlockType(
    name="hmhsa_pooled",
    summary="attention in cells, then to the pooled map (the authors' released TransCNN and HAT-Net)",
    options=HmhsaPooledOptions,
    build=_build,
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
