"""Build a block from a mapping: read its options, refuse what does not fit the map, make the module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.blocks.base import BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.table import BLOCKS, block_type, is_ours
from hmhsa_insert.blocks.timm_layers import PREFIX
from hmhsa_insert.blocks.trial import tried
from hmhsa_insert.errors import BlockError, Problem, first_line

_STAND_IN = (32, 32)


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
    if not problems and is_plugin(block) and (problem := tried(block, options, inp, out_channels).problem):
        problems.append(OptionProblem(("type",), problem, "the class of the block is to be mended"))
    return problems


def is_plugin(block: BlockType) -> bool:
    """Return True for a block that is neither ours nor timm's, and so may not keep what it promises."""
    return not is_ours(block) and not block.name.startswith(PREFIX)


def cost_doubt(options: Options, inp: MapSize, out_channels: int) -> str:
    """Return how the cost formula of a plugin's block differs from what is counted; empty if it does not."""
    block = block_type(options.type)
    said = block.cost(options, inp, out_channels)
    found = tried(block, options, inp, out_channels).cost if is_plugin(block) else None
    if found is None or said == found:
        return ""
    pairs = (("parameters", said.num_params, found.num_params), ("MACs", said.macs, found.macs))
    numbers = " and ".join(f"{a:,} {what}, counted are {b:,}" for what, a, b in pairs if a != b)
    return f"the cost formula of '{block.name}' says {numbers}, on {inp.channels}×{inp.height}×{inp.width}"


@reads_arguments
def build_block(
    spec: Mapping[str, Any] | Options,
    channels: int,
    size: tuple[int, int] | int | None = None,
    out_channels: int | None = None,
) -> nn.Module:
    """Build one block on its own, without the learned scale γ of an insertion with ``init: identity``.

    Args:
        spec: the type of the block and its options, such as ``{"type": "hmhsa_pooled", "head_dim": 64,
            "grid_size": 7}``, or its options. ``hmhsa-insert blocks`` lists the types.
        channels: C of the input N×C×H×W.
        size: ``(H, W)`` of the input in pixels of the map, or one number for both. Needed only if the options
            depend on it, such as ``grids: auto``.
        out_channels: channels of the output; C by default. Only `tdb` and `downsample` can change it.

    Returns:
        The block, in train mode: N×C×H×W to the same shape; for `tdb` and `downsample` to
        N×out_channels×⌈H/2⌉×⌈W/2⌉.

    Raises:
        BlockError: the options are invalid or do not fit the map (lists every reason), or the block is too
            large to build.

    Source:
        arXiv 2106.03180; the file of each block in ``hmhsa_insert/blocks`` gives its equations.

    Example:
        >>> import torch
        >>> import hmhsa_insert as hi
        >>> block = hi.build_block({"type": "hmhsa_pooled", "head_dim": 16, "grid_size": 7}, channels=64)
        >>> block(torch.randn(1, 64, 30, 41)).shape
        torch.Size([1, 64, 30, 41])
        >>> tdb = hi.build_block({"type": "tdb"}, channels=64, out_channels=128)
        >>> tdb(torch.randn(1, 64, 15, 15)).shape
        torch.Size([1, 128, 8, 8])
    """
    options, problems = (spec, []) if isinstance(spec, Options) else parse_options(spec)
    if options is None:
        raise BlockError(_as_problems(problems))
    block = block_type(options.type)
    if size is None and block.needs_size(options):
        raise BlockError(_size_problem(options))
    # Any other block is the same at every size, so an arbitrary size will do.
    height, width = _STAND_IN if size is None else (size, size) if isinstance(size, int) else size
    inp = MapSize(channels, height, width)
    out = channels if out_channels is None else out_channels
    problems = refusals(options, inp, out)
    if problems:
        raise BlockError(_as_problems(problems))
    try:
        return block.build(options, inp, out)
    except (RuntimeError, MemoryError) as error:  # what torch raises if memory runs out or a size overflows
        message = f"{options.type} at {channels}×{height}×{width} is too large to build: {first_line(error)}"
        raise BlockError(Problem("type", message)) from error


def _size_problem(options: Options) -> Problem:
    if options.type == "hmhsa":
        return Problem(
            "grids", "grids: auto is chosen from the size of the map", "pass size, or a list of grids"
        )
    return Problem("type", f"{options.type} is made for one size of the map", "pass size=(height, width)")


def _as_problems(problems: Iterable[OptionProblem]) -> list[Problem]:
    return [Problem(".".join(map(str, problem.key)), problem.message, problem.tip) for problem in problems]
