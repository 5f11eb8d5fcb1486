"""Build a block from a mapping, refusing what does not fit the map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.blocks.base import MapSize, OptionProblem, Options
from hmhsa_insert.blocks.check import parse_options, refusals
from hmhsa_insert.blocks.table import block_type
from hmhsa_insert.errors import BlockError, Problem, first_line

_STAND_IN = (32, 32)


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
