"""H-MHSA by hierarchical steps: attention inside cells, then among cells, up to the whole map.

arXiv 2106.03180, v1 and v2. With X̂ = norm(X) and grids G₀ … G_M:

    A₀  = Attention_{G₀}(X̂) + X̂
    A′ᵢ = MaxPool(Aᵢ₋₁) + AvgPool(Aᵢ₋₁), over the cells of step i − 1
    Aᵢ  = Attention_{Gᵢ}(A′ᵢ) + A′ᵢ
    Y   = (A₀ + Upsample(A₁) + … + Upsample(A_M)) W^p + X

The equations have no norm. The norm in front is an option of this project, on by default; it prevents
overflow in half precision.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.looks import Look
from hmhsa_insert.blocks.narrow import build_narrow
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.padded import PaddedCells
from hmhsa_insert.blocks.partition import Cells, cells_of, flatten_cells, split_cells
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.tokens import Pointwise, attend_cells, in_pieces, laid_out_like, to_map, to_tokens
from hmhsa_insert.blocks.types.hmhsa import HmhsaOptions, grids_of, side_of

_SOURCE = "arXiv 2106.03180 v1 and v2"
Step = tuple[Cells | PaddedCells, list[torch.Tensor]]


class Hmhsa(Lean, ResidualBlock):
    """Hierarchical multi-head self-attention in steps, N×C×H×W to the same shape, at any H and W.

    Cells of step i are the tokens of step i + 1, so nothing returns to map order until the end: pooling is a
    reduction over a cell's tokens, and nearest upsampling is a broadcast to them.

    Args:
        channels: C.
        head_dim: channels of one head; must divide C.
        grids: G₀ … G_M, the side of the cells of each step, in tokens of that step.
        upsample: "nearest", or "bilinear": interpolated over full cells, then cut to the map.
        norm: "group", "batch" or "none"; in half precision, "batch" needs statistics that fit its input.
        last: "global": the last step attends over all remaining tokens; "literal": inside cells of side G_M.
        qkv_bias: whether queries, keys and values have a bias.

    Source:
        arXiv 2106.03180 v1 and v2; the equations at the top of this file.
    """

    def __init__(
        self,
        channels: int,
        head_dim: int,
        grids: tuple[int, ...],
        upsample: str = "nearest",
        norm: str = "group",
        last: str = "global",
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = channels // head_dim
        self.grids = grids
        self.upsample = upsample
        self.last = last
        self.norm = make_norm(norm, channels)
        # One projection to q, k and v for each step, as in the paper; the steps share W^p alone.
        self.qkv = nn.ModuleList(Pointwise(channels, 3 * channels, qkv_bias) for _ in grids)
        self.proj = Pointwise(channels, channels)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return the projected sum of the steps, N×C×H×W in either memory format."""
        return in_pieces(self, partial(self.recomputed, self._attention), x)

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        steps = self._steps(to_tokens(self.norm(x)))
        total = _nearest_sum(steps) if self.upsample == "nearest" else _bilinear_sum(steps)
        projected = split_cells(self.proj(flatten_cells(total)), total)
        made = to_map(steps[0][0].join(projected))
        # A convolution behind a channels_last map asks the exporter whether there is more than one image.
        return laid_out_like(made, x) if torch.compiler.is_exporting() else made

    def _steps(self, tokens: torch.Tensor) -> list[Step]:
        """Return the cells and Aᵢ of every step, from N×H×W×C tokens."""
        steps: list[Step] = []
        for index, qkv in enumerate(self.qkv):
            if steps:
                cells, parts = steps[-1]
                # A′ᵢ: a cell's tokens are axis 1, so pooling needs no map.
                tokens = cells.gather(cells.pool(parts))
            cells = cells_of(tokens, side_of(self.grids, index, self.last))
            parts = cells.cut(tokens)
            attended = attend_cells(self, parts, qkv, self.num_heads, residual=True, mask=cells.mask)
            steps.append((cells, attended))
        return steps

    def looks(self, height: int, width: int) -> tuple[Look, ...]:
        """Return the attention of each step on an H×W map: in cells, then among cells of cells."""
        found: list[Look] = []
        side, rows, cols = 1, height, width
        for index in range(len(self.grids)):
            cells = Cells(rows, cols, side_of(self.grids, index, self.last) or max(rows, cols))
            whole = (cells.rows, cells.cols) == (1, 1)
            where = f"all {rows}×{cols}" if whole else f"cells of {cells.grid}×{cells.grid}"
            equation = f"A{index} = Attention(A′{index}) + A′{index}" if index else "A0 = Attention(X̂) + X̂"
            smooth = index > 0 and self.upsample == "bilinear"
            look = Look(
                f"step {index}, {where}",
                f"{equation}; {_SOURCE}",
                height,
                width,
                cells,
                side,
                bilinear=smooth,
            )
            found.append(look)
            side, rows, cols = side * cells.grid, cells.rows, cells.cols
        return tuple(found)

    def extra_repr(self) -> str:
        """Return the grids, for ``repr``."""
        return f"grids={list(self.grids)}, last={self.last}, upsample={self.upsample}"


def _nearest_sum(steps: list[Step]) -> list[torch.Tensor]:
    """Return ΣUpsample(Aᵢ) in the cells of step 0: every token receives the sums of the cells around it."""
    # From coarse to fine: each step spreads the sum so far by one level, not every step to the map by itself.
    cells, total = steps[-1]
    for finer, parts in reversed(steps[:-1]):
        spread = finer.spread(cells.join(total))
        cells, total = finer, [part + above for part, above in zip(parts, spread, strict=True)]
    return total


def _bilinear_sum(steps: list[Step]) -> list[torch.Tensor]:
    """Return ΣUpsample(Aᵢ) in the cells of step 0, interpolated over full cells and cut to the map."""
    first, parts = steps[0]
    total = first.join(parts)
    height, width = total.shape[1:3]
    scale = first.grid
    for cells, coarse in steps[1:]:
        small = cells.join(coarse)
        # To full cells: cells at the edge of the map may be cut off, and interpolation needs one scale.
        size = [small.shape[1] * scale, small.shape[2] * scale]
        large = F.interpolate(to_map(small), size=size, mode="bilinear", align_corners=False)
        total = total + to_tokens(large[:, :, :height, :width])
        scale *= cells.grid
    return first.cut(total)


def build(options: HmhsaOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    grids = grids_of(options, inp)
    settings = (options.upsample, options.norm, options.last, options.qkv_bias)
    block = build_narrow(
        options.width,
        inp.channels,
        lambda width: Hmhsa(width, head_size(options.head_dim, width), grids, *settings),
    )
    return set_lean(block, options.memory == "lean")
