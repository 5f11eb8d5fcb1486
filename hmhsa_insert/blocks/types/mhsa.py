"""The block type `mhsa`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, built_by
from hmhsa_insert.blocks.fields import HeadDim, Memory, PreNorm, Width, head_problems
from hmhsa_insert.blocks.types.costs import narrow_cost, norm_params


class MhsaOptions(Options):
    """Options of `mhsa`."""

    type: Literal["mhsa"] = "mhsa"
    head_dim: HeadDim = 64
    norm: PreNorm = Field("group", description="norm in front")
    qkv_bias: bool = Field(False, description="add a bias to queries, keys and values")
    width: Width = None
    memory: Memory = "fast"


def attention_cost(inp: MapSize, qkv_bias: bool) -> BlockCost:
    """Return the cost of ``Mhsa`` without its norm: 3NC² + 2N²C + NC² MACs, 4C² + C parameters."""
    channels, num_tokens = inp.channels, inp.height * inp.width
    params = 4 * channels**2 + channels + (3 * channels if qkv_bias else 0)
    return BlockCost(params, 4 * num_tokens * channels**2 + 2 * num_tokens**2 * channels)


def _cost(options: MhsaOptions, inp: MapSize, out_channels: int) -> BlockCost:
    def inner_cost(inner: MapSize) -> BlockCost:
        return attention_cost(inner, options.qkv_bias) + BlockCost(
            norm_params(options.norm, inner.channels), 0
        )

    return narrow_cost(options.width, inp, inner_cost)


def _refuse(options: MhsaOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels, options.width)


MHSA = BlockType(
    name="mhsa",
    summary="plain global attention: every token attends to every token",
    options=MhsaOptions,
    build=built_by("mhsa"),
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
