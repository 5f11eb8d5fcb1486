"""The table of blocks, and the lookup of a block by its name in a recipe."""

from __future__ import annotations

from hmhsa_insert.blocks.base import BlockType
from hmhsa_insert.blocks.installed import installed_block, installed_blocks
from hmhsa_insert.blocks.library.table import ROWS
from hmhsa_insert.blocks.types.activations import ACTIVATION_TYPES
from hmhsa_insert.blocks.types.downsample import DOWNSAMPLE
from hmhsa_insert.blocks.types.hmhsa import HMHSA
from hmhsa_insert.blocks.types.hmhsa_pooled import HMHSA_POOLED
from hmhsa_insert.blocks.types.irb import IRB
from hmhsa_insert.blocks.types.matched import matched_type
from hmhsa_insert.blocks.types.mhsa import MHSA
from hmhsa_insert.blocks.types.placebo import placebo_type
from hmhsa_insert.blocks.types.tdb import TDB
from hmhsa_insert.blocks.types.transcnn import TRANSCNN
from hmhsa_insert.blocks.types.transformer import TRANSFORMER
from hmhsa_insert.errors import BlockError, Problem, near

BLOCKS: dict[str, BlockType] = {
    block.name: block
    for block in (
        HMHSA,
        HMHSA_POOLED,
        MHSA,
        TRANSFORMER,
        IRB,
        TRANSCNN,
        TDB,
        DOWNSAMPLE,
        *ACTIVATION_TYPES,
    )
}


def block_type(name: str) -> BlockType:
    """Return the block called `name`.

    It is a key of `BLOCKS`, another library's by the table `ROWS`, or published by an installed package.

    Raises:
        BlockError: there is no such block, and the tip has the nearest names; or its package cannot be loaded, or the
            installed version of the library does not have it.
    """
    found = BLOCKS.get(name)
    if found is None and name in ROWS:
        from hmhsa_insert.blocks.library.block import library_block

        found = library_block(name)
    if found is None:
        found = installed_block(name)
    if found is not None:
        return found
    tip = near(name, block_names()) or "`hmhsa-insert blocks` lists them"
    raise BlockError(Problem("type", f"there is no block type '{name}'", tip))


def block_names() -> list[str]:
    """Return the names of all block types; those of packages are not loaded for it."""
    names = (*BLOCKS, *ROWS, *(each.name for each in installed_blocks()))
    return list(dict.fromkeys(names))


def is_ours(block: BlockType) -> bool:
    """Return True for a block of this project, which its tests keep to its shape and its cost."""
    return _OURS.get(block.name) is block


# Added last: a control takes the size of any other block, which it looks up here.
BLOCKS |= {control.name: control for control in (placebo_type(block_type), matched_type(block_type))}
_OURS = dict(BLOCKS)
