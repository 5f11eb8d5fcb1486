"""The block type `transformer`: its options and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, built_by
from hmhsa_insert.blocks.fields import Activation, DropPathRate, HeadDim, Memory, head_problems
from hmhsa_insert.blocks.types.mhsa import attention_cost


class TransformerOptions(Options):
    """Options of `transformer`."""

    type: Literal["transformer"] = "transformer"
    head_dim: HeadDim = 64
    mlp_ratio: int = Field(4, ge=1, description="hidden channels of the MLP over channels")
    qkv_bias: bool = Field(False, description="add a bias to queries, keys and values")
    norm: Literal["layer", "group", "batch"] = Field(
        "layer", description="norm in front of attention and MLP"
    )
    act: Activation = Field("gelu", description="activation of the MLP")
    drop_path: DropPathRate = 0.0
    memory: Memory = "fast"


def _cost(options: TransformerOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Add an MLP of ratio r to the attention: 2NrC² MACs, 2rC² + rC + C parameters; and 4C in two norms."""
    hidden = options.mlp_ratio * inp.channels
    weights = 2 * hidden * inp.channels
    mlp = BlockCost(weights + hidden + inp.channels, inp.height * inp.width * weights)
    return attention_cost(inp, options.qkv_bias) + mlp + BlockCost(4 * inp.channels, 0)


def _refuse(options: TransformerOptions, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    return head_problems(options.head_dim, inp.channels)


TRANSFORMER = BlockType(
    name="transformer",
    summary="the pre-norm transformer block: norm, global attention, MLP, both residual",
    options=TransformerOptions,
    build=built_by("transformer"),
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
