"""timm's models, and with them TransCNN, HAT-Net and the IRB stacks of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import timm
from torch import nn

import hmhsa_insert.models  # noqa: F401  (registers transcnn_*, hat_net_* and irb_* with timm)
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.sources.library import DEFAULT_SIZE, Library, Named


class Timm(Library):
    """``timm/NAME``; a tag of pretrained weights may follow the name."""

    prefix = package = "timm"
    form = "timm/NAME"
    is_open = True

    def names(self) -> frozenset[str]:
        """Return all names of its registry."""
        return frozenset(timm.list_models())

    def has(self, name: str) -> bool:
        """Return True if the name without its tag is in the registry."""
        return name.partition(".")[0] in self.names()

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return timm's own factory."""
        return partial(timm.create_model, name, pretrained=pretrained, **kwargs)

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield the architecture that the model's configuration names, plain and with its channels and classes."""
        config = getattr(model, "pretrained_cfg", None)
        architecture = config.get("architecture") if isinstance(config, dict) else None
        if not architecture:
            return
        yield Named(architecture, {})
        kwargs: dict[str, Any] = {}
        if isinstance(getattr(model, "num_classes", None), int):
            kwargs["num_classes"] = model.num_classes
        first = next((p for p in model.parameters() if p.ndim == 4), None)
        if first is not None:
            kwargs["in_chans"] = first.shape[1]
        yield Named(architecture, kwargs)

    def weights_of(self, model: nn.Module) -> str:
        """Return what the model's configuration says."""
        config = getattr(model, "pretrained_cfg", None) or {}
        return str(config.get("hf_hub_id") or "") if isinstance(config, Mapping) else ""

    def input_size(self, model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> Size:
        """Return the size in the model's configuration."""
        config = getattr(model, "pretrained_cfg", None) or {}
        if not isinstance(config, Mapping) or not config.get("input_size"):
            return DEFAULT_SIZE
        channels, *sides = config["input_size"]
        return (int(kwargs.get("in_chans", channels)), *(int(side) for side in sides))
