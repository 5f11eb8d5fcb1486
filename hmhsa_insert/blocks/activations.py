"""Activations as blocks, so that a recipe can replace one with another (the paper: GELU with SiLU)."""

from __future__ import annotations

from torch import nn

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.norm_act import ACTIVATIONS
from hmhsa_insert.blocks.types.activations import ActivationOptions


def build(options: ActivationOptions, inp: MapSize, out_channels: int) -> nn.Module:
    """Return the block with these options, for a map."""
    return ACTIVATIONS[options.type]()
