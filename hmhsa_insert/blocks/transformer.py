"""The pre-norm transformer block on a map, the baseline of arXiv 2106.03180.

A′ = x + DropPath(Attention(norm1(x)))
Y  = A′ + DropPath(MLP(norm2(A′)))
"""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.lean import Lean, set_lean
from hmhsa_insert.blocks.mhsa import Mhsa
from hmhsa_insert.blocks.norm_act import ACTIVATIONS, make_norm
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.tokens import Pointwise, to_map, to_tokens
from hmhsa_insert.blocks.types.transformer import TransformerOptions


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


def build(options: TransformerOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
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
