"""The block type `hmhsa_pooled`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, built_by
from hmhsa_insert.blocks.fields import HeadDim, Memory, Rate, Width, head_problems
from hmhsa_insert.blocks.types.costs import attention_pairs, narrow_cost


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


def pooled_attention_cost(inp: MapSize, grid_size: int, pool: int) -> BlockCost:
    """Return the cost of ``HmhsaPooled`` on N = H·W tokens, pooled to n.

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
    build=built_by("hmhsa_pooled"),
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
