"""The blocks: their names, options and costs, what each refuses, and how to build one."""

from __future__ import annotations

from hmhsa_insert.blocks.base import (
    BlockCost,
    BlockType,
    MapSize,
    OptionProblem,
    Options,
    ResidualBlock,
)
from hmhsa_insert.blocks.build import build_block, parse_options, refusals
from hmhsa_insert.blocks.hmhsa import auto_grids
from hmhsa_insert.blocks.identity import Residual
from hmhsa_insert.blocks.table import BLOCKS, block_type
from hmhsa_insert.blocks.timm_layers import TIMM_NAMES

__all__ = [
    "BLOCKS",
    "TIMM_NAMES",
    "BlockCost",
    "BlockType",
    "MapSize",
    "OptionProblem",
    "Options",
    "Residual",
    "ResidualBlock",
    "auto_grids",
    "block_type",
    "build_block",
    "parse_options",
    "refusals",
]
