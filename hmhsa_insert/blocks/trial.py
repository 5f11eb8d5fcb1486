"""Try a block on a map of fake tensors: what it returns, and what it costs by torch's counter.

For blocks that are not ours: timm's, and those of users and packages. Nothing is drawn, computed or allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options
from hmhsa_insert.errors import first_line
from hmhsa_insert.formulas import EXTRA_FORMULAS
from hmhsa_insert.torch_private import FakeTensorMode

Build = Callable[[Any, MapSize, int], nn.Module]


@dataclass(frozen=True)
class Trial:
    """What became of a trial.

    Attributes:
        problem: why the block cannot be used on this map; empty if it can.
        cost: as counted, for one image; None if there is a problem.
    """

    problem: str
    cost: BlockCost | None = None


def counted(build: Build, options: Any, inp: MapSize, out_channels: int) -> tuple[Any, BlockCost]:
    """Return the output of a block in eval mode for one image, and its cost: parameters, and half of torch's FLOPs."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        module = build(options, inp, out_channels).eval()
        image = torch.empty(1, inp.channels, inp.height, inp.width)
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=EXTRA_FORMULAS) as counter:
            output = module(image)
    num_params = sum(parameter.numel() for parameter in module.parameters())
    return output, BlockCost(num_params, counter.get_total_flops() // 2)


def tried(block: BlockType, options: Options, inp: MapSize, out_channels: int) -> Trial:
    """Run a block on one map; refuse one that fails there or does not keep to its ``shape``."""
    try:
        return _tried(block, options, inp, out_channels)
    except TypeError:  # options that hold lists have no hash
        return _tried.__wrapped__(block, options, inp, out_channels)


@lru_cache(maxsize=1024)
def _tried(block: BlockType, options: Options, inp: MapSize, out_channels: int) -> Trial:
    text = f"{inp.channels}×{inp.height}×{inp.width}"
    try:
        output, cost = counted(block.build, options, inp, out_channels)
    except Exception as error:  # whatever the code of a user raises
        line, kind = first_line(error), type(error).__name__
        reason = line if line == kind else f"{kind}: {line}"
        return Trial(f"'{block.name}' fails on a map of {text}: {reason}")
    if not isinstance(output, Tensor):
        return Trial(f"'{block.name}' returns {type(output).__name__}, not a tensor")
    half = block.shape == "half"
    height, width = ((-(-side // 2)) if half else side for side in (inp.height, inp.width))
    if tuple(output.shape) != (1, out_channels, height, width):
        got = "×".join(map(str, output.shape[1:]))
        does = f"halves it to {out_channels}×{height}×{width}" if half else "keeps it"
        return Trial(f"'{block.name}' turns a map of {text} into {got}, and by its type it {does}")
    if output.dtype != torch.get_default_dtype():
        return Trial(f"'{block.name}' turns a map of {torch.get_default_dtype()} into {output.dtype}")
    return Trial("", cost)
