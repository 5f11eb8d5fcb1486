"""The block type `hmhsa`: its options, its grids on a map, and its cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, built_by
from hmhsa_insert.blocks.fields import Auto, HeadDim, Memory, PreNorm, Sides, Width, head_problems
from hmhsa_insert.blocks.types.costs import attention_pairs, narrow_cost, norm_params

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


def side_of(grids: tuple[int, ...], index: int, last: str) -> int | None:
    """Return the side of the cells of one step; None: the whole map that is left, as for a last step not literal."""
    whole = last == "global" and index == len(grids) - 1
    return None if whole else grids[index]


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


def grids_of(options: HmhsaOptions, inp: MapSize) -> tuple[int, ...]:
    """Return the grids of an `hmhsa` block on a map."""
    return auto_grids(inp.height, inp.width) if options.grids == "auto" else options.grids


def _cost(options: HmhsaOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Add up the steps and W^p.

    Step i, with Nᵢ tokens: 3NᵢC² for q, k, v, and 2C for each of its (query, key) pairs, which are NᵢGᵢ² where
    cells divide the map. W^p: NC². Parameters: 3C² a step (3C more with biases), C² + C for W^p, 2C for the norm.
    """
    return narrow_cost(options.width, inp, lambda inner: _inner_cost(options, inner))


def _inner_cost(options: HmhsaOptions, inp: MapSize) -> BlockCost:
    grids, channels = grids_of(options, inp), inp.channels
    height, width = inp.height, inp.width
    macs = height * width * channels**2
    for index in range(len(grids)):
        side = side_of(grids, index, options.last) or max(height, width)
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
    build=built_by("hmhsa"),
    cost=_cost,
    shape="same",
    refuse=_refuse,
    needs_size=lambda options: options.grids == "auto",
)
