"""A deformable convolution with what tells it where to look: one convolution of the map, as in its paper."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.ops import deform_conv2d


class Deformable(nn.Module):
    """torchvision's ``DeformConv2d`` with its offsets and mask, N×C×H×W to the same shape.

    Both start as those of a plain convolution: offsets at zero, each mask at one half.

    Args:
        module: the ``DeformConv2d``, which keeps the size of its map.

    Source:
        Deformable ConvNets v2, arXiv 1811.11168, section 3.2.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self.places = module.kernel_size[0] * module.kernel_size[1]
        same = {name: getattr(module, name) for name in ("kernel_size", "padding", "dilation")}
        self.look = nn.Conv2d(module.in_channels, 3 * self.places, **same)
        nn.init.zeros_(self.look.weight)
        nn.init.zeros_(self.look.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved map, N×C×H×W."""
        offsets, mask = self.look(x).split((2 * self.places, self.places), dim=1)
        # The kernels of torchvision have no bfloat16, on a CPU no float16 either.
        wide = torch.promote_types(x.dtype, torch.float32)
        bias = None if self.module.bias is None else self.module.bias.to(wide)
        y: torch.Tensor = deform_conv2d(
            x.to(wide),
            offsets.to(wide),
            self.module.weight.to(wide),
            bias,
            padding=self.module.padding,
            dilation=self.module.dilation,
            mask=mask.sigmoid().to(wide),
        )
        return y.to(x.dtype)
