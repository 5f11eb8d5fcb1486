"""What the tests of exports share: a small network with a block, and networks with a recipe's whose blocks act."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

import hmhsa_insert as hi

POOLED = {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 3}


class Small(nn.Module):
    """A map of a quarter of the image, a block, and a vector."""

    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.block = hi.build_block(spec or POOLED, 16, 8)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)).mean((2, 3)))


class Sized(nn.Module):
    """A network whose outputs depend on its image's size in a way that a trace keeps: wrong, not broken."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3)) * int(x.shape[-1])


class Lopsided(nn.Module):
    """A network that torch.export cannot take at every size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3)) if x.shape[-1] > 64 else x.amax((1, 2, 3))


def small(spec: dict[str, Any] | None = None) -> Small:
    torch.manual_seed(0)
    return Small(spec)


def acting(model: nn.Module) -> nn.Module:
    """Let every inserted block change the outputs: gamma starts at zero, and a wrong block would not be noticed."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter, std=0.5)
    return model.eval()


def inserted(spec: dict[str, Any], network: str = "resnet18") -> nn.Module:
    """Return a network with a block behind every block of stages 2 and 3."""
    edit = {"op": "insert", "id": "new", "at": {"stage": [2, 3], "block": "last"}, "block": spec}
    return edited({"version": 1, "edits": [edit]}, network)


def downsampled(spec: dict[str, Any], network: str = "resnet18") -> nn.Module:
    """Return a network with a block in place of the downsampling into stages 2 to 4."""
    edit = {"op": "replace", "id": "new", "at": {"downsample": [2, 3, 4]}, "block": spec, "keep": "blocks"}
    return edited({"version": 1, "edits": [edit]}, network)


def edited(recipe: Any, network: str = "resnet18") -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(network, num_classes=10)
    return acting(hi.apply(model, recipe, input_size=(3, 64, 64)))
