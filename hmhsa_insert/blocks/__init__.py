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
from hmhsa_insert.blocks.build import build_block, cost_doubt, parse_options, refusals
from hmhsa_insert.blocks.hmhsa import auto_grids
from hmhsa_insert.blocks.identity import Residual
from hmhsa_insert.blocks.installed import installed_blocks
from hmhsa_insert.blocks.registered import register_block
from hmhsa_insert.blocks.table import BLOCKS, block_names, block_type
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
    "block_names",
    "block_type",
    "build_block",
    "cost_doubt",
    "installed_blocks",
    "parse_options",
    "refusals",
    "register_block",
]
