"""What the tests of other libraries' blocks share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hmhsa_insert.blocks import ROWS, block_type
from hmhsa_insert.blocks.library.layouts import Adapted
from hmhsa_insert.errors import BlockError

# One of each layout, each way of saying a size, each thing that a row can say; the others are long.
SAMPLE = {
    *("timm/se", "timm/ge", "timm/bottleneck", "timm/halo", "timm/attention2d", "timm/vit_block"),
    *("timm/transformer2d", "timm/window_attention", "timm/grid_attention", "timm/swin", "timm/shsa"),
    *("timm/local_window_attention", "timm/focal_modulation", "timm/outlooker", "timm/xcit_block"),
    *("timm/pvt_attention", "timm/levit_attention", "timm/pooling", "timm/convnext", "timm/sequencer"),
    *("timm/mixer", "timm/mobilevit_v2", "timm/diff_attention", "torchvision/deform_conv"),
}
MATRIX = [pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.long]) for name in ROWS]


def only_where_timm_has(name: str) -> None:
    """Skip where the installed library does not have the block, which must then be refused by name."""
    try:
        block_type(name)
    except BlockError as error:
        (problem,) = error.problems
        assert f"'{name}'" in problem.message
        assert "has no" in problem.message
        pytest.skip(problem.message)


def by_hand(block: nn.Module, layout: str, x: torch.Tensor) -> torch.Tensor:
    """Return what the other library's module makes of `x`, its layout written out."""
    (module, *_) = [each.module for each in block.modules() if isinstance(each, Adapted)] or [block]
    height, width = x.shape[2:]
    if layout.startswith("NCHW"):
        return module(x)
    if layout == "NHWC":
        return module(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
    told = {"tokens": (), "tokens (H, W)": ((height, width),), "tokens H W": (height, width)}[layout]
    return module(x.flatten(2).mT.contiguous(), *told).mT.unflatten(2, (height, width))
