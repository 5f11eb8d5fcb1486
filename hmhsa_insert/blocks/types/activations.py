"""Activations as blocks: their names; what they are is in ``blocks/activations.py``."""

from __future__ import annotations

from typing import get_args

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options, built_by
from hmhsa_insert.blocks.fields import Activation


class ActivationOptions(Options):
    """The options of an activation, which has none beside its type."""

    type: Activation


def _cost(options: ActivationOptions, inp: MapSize, out_channels: int) -> BlockCost:
    """Return zero: an activation has no weights, and elementwise work is not counted."""
    return BlockCost(0, 0)


ACTIVATION_TYPES = [
    BlockType(
        name=name,
        summary=f"the activation {name}, to put in another's place",
        options=ActivationOptions,
        build=built_by("activations"),
        cost=_cost,
        shape="any",
    )
    for name in get_args(Activation)
]
