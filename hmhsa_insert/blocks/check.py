"""Read a block's options from a mapping, and say why a block with them does not fit a map; torch is needed by neither.

A block that is not ours is tried on fake tensors, and torch is imported then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmhsa_insert.blocks.base import BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.library.table import is_library
from hmhsa_insert.blocks.table import BLOCKS, block_type, is_ours
from hmhsa_insert.errors import BlockError


def parse_options(spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
    """Read a block's mapping, such as ``{"type": "hmhsa", "head_dim": 64}``.

    Returns:
        The options and an empty list, or None and every problem: a missing or unknown type, unknown options
        (with the nearest valid names), values of the wrong type or out of range.
    """
    name = spec.get("type")
    if not isinstance(name, str):
        message = "a block needs a type" if name is None else f"type must be a block's name, not {name}"
        return None, [OptionProblem(("type",), message, f"one of {', '.join(BLOCKS)}, or timm/NAME")]
    try:
        return block_type(name).read(spec)
    except BlockError as error:
        return None, [OptionProblem(("type",), problem.message, problem.tip) for problem in error.problems]


def refusals(options: Options, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    """Return every reason why a block with these options cannot map `inp` to `out_channels` channels."""
    block = block_type(options.type)
    problems = []
    if block.shape != "half" and out_channels != inp.channels:
        message = f"{block.name} keeps the channels: it cannot turn {inp.channels} into {out_channels}"
        problems.append(OptionProblem(("type",), message, "tdb and downsample can"))
    problems += block.refuse(options, inp, out_channels)
    if not problems and is_plugin(block):
        from hmhsa_insert.blocks.trial import tried

        if problem := tried(block, options, inp, out_channels).problem:
            problems.append(OptionProblem(("type",), problem, "the class of the block is to be mended"))
    return problems


def is_plugin(block: BlockType) -> bool:
    """Return True for a block that is neither ours nor of the table `ROWS`, and so may not keep what it promises."""
    return not is_ours(block) and not is_library(block.name)


def cost_doubt(options: Options, inp: MapSize, out_channels: int) -> str:
    """Return how the cost formula of a plugin's block differs from what is counted; empty if it does not."""
    block = block_type(options.type)
    if not is_plugin(block):
        return ""
    from hmhsa_insert.blocks.trial import tried

    said, found = block.cost(options, inp, out_channels), tried(block, options, inp, out_channels).cost
    if found is None or said == found:
        return ""
    pairs = (("parameters", said.num_params, found.num_params), ("MACs", said.macs, found.macs))
    numbers = " and ".join(f"{a:,} {what}, counted are {b:,}" for what, a, b in pairs if a != b)
    return f"the cost formula of '{block.name}' says {numbers}, on {inp.channels}×{inp.height}×{inp.width}"
