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

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.looks import Look, whole_map
from hmhsa_insert.blocks.narrow import build_narrow
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.padded import PaddedCells, is_symbolic
from hmhsa_insert.blocks.partition import Cells, cells_of
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
from hmhsa_insert.blocks.types.hmhsa_pooled import HmhsaPooledOptions

_SOURCE = "arXiv 2106.03180 v3 to v5"


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


def build(options: HmhsaPooledOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    settings = (options.grid_size, options.pool, options.norm, options.drop)
    block = build_narrow(
        options.width,
        inp.channels,
        lambda width: HmhsaPooled(width, head_size(options.head_dim, width), *settings),
    )
    return set_lean(block, options.memory == "lean")
