"""The norms and activations that blocks offer by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "hard_swish": nn.Hardswish,
}


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of an N×C×H×W map, as transformers do for tokens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized map, N×C×H×W."""
        tokens = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return tokens.permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm``, without a crash of torch 2.11: backward on a frozen channels_last map on the CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized map, N×C×H×W."""
        frozen = torch.is_grad_enabled() and self.weight.requires_grad and not x.requires_grad
        if frozen and x.device.type == "cpu" and not torch.compiler.is_compiling():
            x = x.detach().requires_grad_()  # its gradient is computed and dropped
        return super().forward(x)


def _group(channels: int) -> nn.Module:
    # One group and eps 1e-6 as in HAT-Net, so that its released weights give the same outputs here.
    return GroupNorm(1, channels, eps=1e-6)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": _group,
    "layer": lambda channels: ChannelLayerNorm(channels, eps=1e-6),
    "none": lambda channels: nn.Identity(),
}


def make_norm(name: str, channels: int) -> nn.Module:
    """Return the norm called `name` (a key of `NORMS`) for an N×C×H×W map with C = `channels`."""
    return NORMS[name](channels)
