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
from typing import Annotated, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, ResidualBlock
from hmhsa_insert.blocks.fields import Auto, HeadDim, Memory, PreNorm, Sides, Width, head_problems, head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.looks import Look
from hmhsa_insert.blocks.narrow import build_narrow, narrow_cost
from hmhsa_insert.blocks.norm_act import make_norm, norm_params
from hmhsa_insert.blocks.padded import PaddedCells
from hmhsa_insert.blocks.partition import Cells, attention_pairs, cells_of, flatten_cells, split_cells
from hmhsa_insert.blocks.tokens import Pointwise, attend_cells, in_pieces, laid_out_like, to_map, to_tokens

_SOURCE = "arXiv 2106.03180 v1 and v2"
Step = tuple[Cells | PaddedCells, list[torch.Tensor]]

# `auto`: exact cells of the first of these sides that fits, until at most this many tokens are left for the last step.
# 7 is first because it fits every map of a 224-pixel image (7·2ᵏ): one side at all stages, so that cost grows as the
# tokens do. With 8 first, 28×28 would take 7 and 56×56 take 8, and MACs grow 4.33-fold for 4 times the tokens (C = 64).
_EXACT_CELLS = (7, 8, 6, 5, 4)
_LARGEST_CELL = 8
_LAST_TOKENS = 100

_Grids = Annotated[
    Annotated[Auto, Tag("[word]")] | Annotated[Sides, Tag("[list]")],
    Discriminator(lambda value: "[list]" if isinstance(value, list | tuple) else "[word]"),
    Field(description="side of the cells of each step, first to last, or auto: from the size of the map"),
]


class HmhsaOptions(Options):
    """Options of `hmhsa`."""

    type: Literal["hmhsa"] = "hmhsa"
    head_dim: HeadDim = 64
    grids: _Grids = "auto"
    upsample: Literal["nearest", "bilinear"] = Field(
        "nearest", description="how the coarser steps return to the map's size"
    )
    norm: PreNorm = Field("group", description="norm in front of the first step")
    last: Literal["global", "literal"] = Field(
        "global", description="the last step covers the whole map that is left, or cells of its literal grid"
    )
    qkv_bias: bool = Field(False, description="add a bias to queries, keys and values")
    width: Width = None
    memory: Memory = "fast"


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
            cells = cells_of(tokens, _side(self.grids, index, self.last))
            parts = cells.cut(tokens)
            attended = attend_cells(self, parts, qkv, self.num_heads, residual=True, mask=cells.mask)
            steps.append((cells, attended))
        return steps

    def looks(self, height: int, width: int) -> tuple[Look, ...]:
        """Return the attention of each step on an H×W map: in cells, then among cells of cells."""
        found: list[Look] = []
        side, rows, cols = 1, height, width
        for index in range(len(self.grids)):
            cells = Cells(rows, cols, _side(self.grids, index, self.last) or max(rows, cols))
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


def _side(grids: tuple[int, ...], index: int, last: str) -> int | None:
    """Return the side of the cells of one step; None: the whole map that is left, as for a last step not literal."""
    whole = last == "global" and index == len(grids) - 1
    return None if whole else grids[index]


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


def auto_grids(height: int, width: int) -> tuple[int, ...]:
    """Choose the grids of an H×W map: as few steps as cells of side 8 allow, with exact cells if possible.

    Each step takes the first side of 7, 8, 6, 5 and 4 that divides H and W, or 8 if none does, until at most
    100 tokens are left, which the last step covers. Gives (7, 8) at 56×56, (7, 4) at 28×28, (7, 2) at 14×14
    and (7,) at 7×7.
    """
    grids: list[int] = []
    while height * width > _LAST_TOKENS:
        exact = [g for g in _EXACT_CELLS if height % g == 0 and width % g == 0]
        grids.append(exact[0] if exact else _LARGEST_CELL)
        height, width = -(-height // grids[-1]), -(-width // grids[-1])
    return (*grids, max(height, width))


def _grids(options: HmhsaOptions, inp: MapSize) -> tuple[int, ...]:
    return auto_grids(inp.height, inp.width) if options.grids == "auto" else options.grids


def _build(options: HmhsaOptions, inp: MapSize, out_channels: int) -> nn.Module:
    grids = _grids(options, inp)
    settings = (options.upsample, options.norm, options.last, options.qkv_bias)
    block = build_narrow(
        options.width,
        inp.channels,
        lambda width: Hmhsa(width, head_size(options.head_dim, width), grids, *settings),
    )
    return set_lean(block, options.memory == "lean")


def _cost(options: HmhsaOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Add up the steps and W^p.

    Step i, with Nᵢ tokens: 3NᵢC² for q, k, v, and 2C for each of its (query, key) pairs, which are NᵢGᵢ² where
    cells divide the map. W^p: NC². Parameters: 3C² a step (3C more with biases), C² + C for W^p, 2C for the norm.
    """
    return narrow_cost(options.width, inp, lambda inner: _inner_cost(options, inner))


def _inner_cost(options: HmhsaOptions, inp: MapSize) -> BlockCost:
    grids, channels = _grids(options, inp), inp.channels
    height, width = inp.height, inp.width
    macs = height * width * channels**2
    for index in range(len(grids)):
        side = _side(grids, index, options.last) or max(height, width)
        macs += 3 * height * width * channels**2 + 2 * channels * attention_pairs(height, width, side)
        height, width = -(-height // side), -(-width // side)
    step_params = 3 * channels**2 + (3 * channels if options.qkv_bias else 0)
    params = len(grids) * step_params + channels**2 + channels + norm_params(options.norm, channels)
    return BlockCost(params, macs)


def _refuse(options: HmhsaOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels, options.width)


HMHSA = BlockType(
    name="hmhsa",
    summary="hierarchical attention in steps (the paper's v1): cells, then cells of cells, up to the map",
    options=HmhsaOptions,
    build=_build,
    cost=_cost,
    shape="same",
    refuse=_refuse,
    needs_size=lambda options: options.grids == "auto",
)
