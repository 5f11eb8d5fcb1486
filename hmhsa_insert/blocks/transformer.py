"""The pre-norm transformer block on a map, the baseline of arXiv 2106.03180.

A′ = x + DropPath(Attention(norm1(x)))
Y  = A′ + DropPath(MLP(norm2(A′)))
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from timm.layers import DropPath
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options, ResidualBlock
from hmhsa_insert.blocks.fields import Activation, DropPathRate, HeadDim, Memory, head_problems, head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.mhsa import Mhsa, attention_cost
from hmhsa_insert.blocks.norm_act import ACTIVATIONS, make_norm
from hmhsa_insert.blocks.tokens import Pointwise, to_map, to_tokens


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


class Mlp(Lean):
    """Two linear layers with an activation between them, on tokens: …×C to …×C.

    Args:
        channels: C.
        hidden: channels between the two layers.
        act: a key of `ACTIVATIONS`.
    """

    def __init__(self, channels: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = Pointwise(channels, hidden)
        self.act = ACTIVATIONS[act]()
        self.fc2 = Pointwise(hidden, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map …×C to …×C."""
        return self.recomputed(lambda hidden: self.fc2(self.act(hidden)), self.fc1(tokens))


class Transformer(ResidualBlock):
    """Pre-norm transformer block on a map, N×C×H×W to the same shape.

    Args:
        channels: C.
        head_dim: channels of one head; must divide C.
        mlp_ratio: ratio of the hidden channels of the MLP to C.
        qkv_bias: whether queries, keys and values have a bias.
        norm: "layer" (over the channels of each token), "group" or "batch".
        act: a key of `ACTIVATIONS`.
        drop_path: probability of dropping either branch for one image, in training.

    Source:
        The baseline of arXiv 2106.03180; the equations at the top of this file.
    """

    def __init__(
        self,
        channels: int,
        head_dim: int,
        mlp_ratio: int = 4,
        qkv_bias: bool = False,
        norm: str = "layer",
        act: str = "gelu",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, channels)
        self.attn = Mhsa(channels, head_dim, "none", qkv_bias)
        self.norm2 = make_norm(norm, channels)
        self.mlp = Mlp(channels, mlp_ratio * channels, act)
        self.drop_path = DropPath(drop_path)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the two branches add to x, N×C×H×W in channels_last."""
        x = to_map(to_tokens(x))  # one copy to channels_last, so that no layer below makes another
        attended = self.drop_path(self.attn(self.norm1(x)))
        mlp = to_map(self.mlp(to_tokens(self.norm2(x + attended))))
        added: torch.Tensor = attended + self.drop_path(mlp)
        return added


def _build(options: TransformerOptions, inp: MapSize, out_channels: int) -> nn.Module:
    block = Transformer(
        inp.channels,
        head_size(options.head_dim, inp.channels),
        options.mlp_ratio,
        options.qkv_bias,
        options.norm,
        options.act,
        options.drop_path,
    )
    return set_lean(block, options.memory == "lean")


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
    build=_build,
    cost=_cost,
    shape="same",
    refuse=_refuse,
)
