"""torchvision's models: classification, detection, segmentation, video, optical flow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import torchvision
from torch import nn

from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.sources.library import DEFAULT_SIZE, Library, Named


class Torchvision(Library):
    """``torchvision/NAME``."""

    prefix = package = "torchvision"
    form = "torchvision/NAME"
    is_open = True

    @cache  # noqa: B019  (the table holds the only instance)
    def names(self) -> frozenset[str]:
        """Return all names of its registry."""
        return frozenset(torchvision.models.list_models())

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return torchvision's own factory; a detector's or segmenter's backbone gets no weights by itself."""
        given: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None, **kwargs}
        if "weights_backbone" in inspect.signature(torchvision.models.get_model_builder(name)).parameters:
            given.setdefault("weights_backbone", None)  # else it is downloaded
        return partial(torchvision.models.get_model, name, **given)

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield every model whose builder is defined beside the model's class."""
        if not type(model).__module__.startswith("torchvision.models."):
            return
        linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
        width = linears[-1].out_features if linears else 0
        for name in torchvision.models.list_models():
            builder = torchvision.models.get_model_builder(name)
            if inspect.getmodule(builder) is inspect.getmodule(type(model)):
                yield Named(name, {})
                yield Named(name, {"num_classes": width})

    def input_size(self, model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> Size:
        """Return the size that the published weights were evaluated at."""
        try:
            transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms
            side = transforms.keywords["crop_size"]
        except (ValueError, AttributeError, KeyError):
            return DEFAULT_SIZE
        height, width = side if isinstance(side, list | tuple) else (side, side)
        return (3, int(height), int(width))
