"""From a mapping to a module: read the options, refuse what does not fit the map, build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from hmhsa_insert.blocks.base import MapSize, OptionProblem, Options
from hmhsa_insert.blocks.table import BLOCKS, block_type
from hmhsa_insert.errors import BlockError, Problem, first_line

_STAND_IN = (32, 32)


def parse_options(spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
    """Read a block's mapping, such as ``{"type": "hmhsa", "head_dim": 64}``.

    Returns:
        The options and no problem, or None and every problem: no type, an unknown one, unknown options with
        the nearest names, wrong types, values out of range.
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
    """Return everything that keeps a block with these options from mapping `inp` to `out_channels` channels."""
    block = block_type(options.type)
    problems = []
    if block.shape != "half" and out_channels != inp.channels:
        message = f"{block.name} keeps the channels: it cannot turn {inp.channels} into {out_channels}"
        problems.append(OptionProblem(("type",), message, "tdb and downsample can"))
    return problems + block.refuse(options, inp, out_channels)


def build_block(
    spec: Mapping[str, Any] | Options,
    channels: int,
    size: tuple[int, int] | int | None = None,
    out_channels: int | None = None,
) -> nn.Module:
    """Build one block by itself, without the identity scale γ that splicing adds.

    Args:
        spec: the block's mapping, such as ``{"type": "hmhsa_pooled", "head_dim": 64, "grid_size": 7}``, or its options.
        channels: C of the maps it will get, N×C×H×W.
        size: (H, W), or one number for both; needed where the options depend on it, such as ``grids: auto``.
        out_channels: channels of its output; C where not given.

    Raises:
        BlockError: with every problem of the options, or every reason why they do not fit the map.
    """
    options, problems = (spec, []) if isinstance(spec, Options) else parse_options(spec)
    if options is None:
        raise BlockError(_as_problems(problems))
    block = block_type(options.type)
    if size is None and block.needs_size(options):
        raise BlockError(_size_problem(options))
    # Any other block is the same at every size, so a stand-in will do.
    height, width = _STAND_IN if size is None else (size, size) if isinstance(size, int) else size
    inp = MapSize(channels, height, width)
    out = channels if out_channels is None else out_channels
    problems = refusals(options, inp, out)
    if problems:
        raise BlockError(_as_problems(problems))
    try:
        return block.build(options, inp, out)
    except (RuntimeError, MemoryError) as error:  # what torch raises where memory or its counters end
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
