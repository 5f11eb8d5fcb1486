"""Activations as blocks, so that a recipe can replace one with another (the paper: GELU with SiLU)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options
from hmhsa_insert.blocks.norm_act import ACTIVATIONS


class ActivationOptions(Options):
    """The options of an activation, which has none beside its type."""

    type: Literal["silu", "gelu", "relu", "hard_swish"]


def _build(options: ActivationOptions, inp: MapSize, out_channels: int) -> nn.Module:
    return ACTIVATIONS[options.type]()


def _cost(options: ActivationOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Return zero: an activation has no weights, and elementwise work is not counted."""
    return BlockCost(0, 0)


ACTIVATION_TYPES = [
    BlockType(
        name=name,
        summary=f"the activation {name}, to put in another's place",
        options=ActivationOptions,
        build=_build,
        cost=_cost,
        shape="any",
    )
    for name in ACTIVATIONS
]
