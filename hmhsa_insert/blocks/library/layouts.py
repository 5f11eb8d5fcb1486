"""The layouts of maps in other libraries: a module that takes any of them becomes one of N×C×H×W."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hmhsa_insert.blocks.library.row import Layout
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.tokens import laid_out_like, to_map, to_tokens


def _nchw(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = module(x)
    return y


def _nhwc(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return laid_out_like(to_map(module(to_tokens(x))), x)


def _tokens(*size: str) -> Callable[[nn.Module, torch.Tensor], torch.Tensor]:
    """Return the call of a module of N×HW×C tokens, with what it is told of the size after them."""

    def call(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        told: dict[str, Any] = {"(H, W)": (height, width), "H": height, "W": width}
        tokens = module(to_tokens(x).flatten(1, 2), *(told[each] for each in size))
        return laid_out_like(to_map(tokens.unflatten(1, (height, width))), x)

    return call


LAYOUTS: dict[Layout, Callable[[nn.Module, torch.Tensor], torch.Tensor]] = {
    "NCHW": _nchw,
    "NHWC": _nhwc,
    "tokens": _tokens(),
    "tokens (H, W)": _tokens("(H, W)"),
    "tokens H W": _tokens("H", "W"),
    "NCHW with offsets": _nchw,
}


class Adapted(nn.Module):
    """A module of another layout as a block, N×C×H×W to the same shape.

    Args:
        module: the other library's.
        layout: what it takes and returns.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.module = module
        self.layout = layout
        # LeViT and its kin keep the biases that they gathered in eval mode, also when other weights are loaded.
        self._keeping: list[Any] = [
            each for each in module.modules() if hasattr(each, "attention_bias_cache")
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the module makes of `x`, in the memory format of `x`."""
        y = LAYOUTS[self.layout](self.module, x)
        for each in self._keeping:
            each.attention_bias_cache = {}
        return y

    def extra_repr(self) -> str:
        """Return the layout, for ``repr``."""
        return self.layout


class AdaptedResidual(ResidualBlock):
    """A module that adds its input itself, as a residual block: its branch is what it adds.

    The branch has the low bits that the module itself lost when it added its input.

    Args:
        module: the other library's.
        layout: what it takes and returns.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.adapted = Adapted(module, layout)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the module adds to `x`, N×C×H×W."""
        y: torch.Tensor = self.adapted(x)
        return y - x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the module makes of `x`, N×C×H×W."""
        y: torch.Tensor = self.adapted(x)
        return y


def adapted(module: nn.Module, layout: Layout, residual: bool) -> nn.Module:
    """Return the block of a module: the module itself if it takes N×C×H×W, keeps nothing and adds nothing."""
    if residual:
        return AdaptedResidual(module, layout)
    if layout == "NCHW with offsets":
        from hmhsa_insert.blocks.library.deformable import Deformable

        return Deformable(module)
    made = Adapted(module, layout)
    return module if layout == "NCHW" and not made._keeping else made
