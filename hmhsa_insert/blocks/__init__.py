"""The blocks: their names, options and costs, what each refuses, and how to build one. Torch is imported to build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.check import cost_doubt, parse_options, refusals
from hmhsa_insert.blocks.installed import installed_blocks
from hmhsa_insert.blocks.library.table import ROWS
from hmhsa_insert.blocks.registered import register_block
from hmhsa_insert.blocks.table import BLOCKS, block_names, block_type
from hmhsa_insert.blocks.types.hmhsa import auto_grids
from hmhsa_insert.lazy import lazily

if TYPE_CHECKING:
    from hmhsa_insert.blocks.build import build_block
    from hmhsa_insert.blocks.identity import Residual
    from hmhsa_insert.blocks.residual import ResidualBlock

# What needs torch, imported at its first use.
__getattr__ = lazily(__name__, {"build_block": "build", "Residual": "identity", "ResidualBlock": "residual"})

__all__ = [
    "BLOCKS",
    "BlockCost",
    "BlockType",
    "MapSize",
    "OptionProblem",
    "Options",
    "ROWS",
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
