"""ultralytics' models: YOLO and RT-DETR, from the YAML files in its package or from a checkpoint.

ultralytics is licensed under the AGPL-3.0. It is imported here and in ``integrations/ultralytics.py`` alone, and only
when a user names one of its models.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.sources.library import Library, Named
from hmhsa_insert.surgery.base.sources.pickles import check_allowed


class Ultralytics(Library):
    """``ultralytics/yolo11n.yaml``, or ``ultralytics/FILE.pt``."""

    prefix = package = extra = "ultralytics"
    form = "ultralytics/yolo11n.yaml"

    @cache  # noqa: B019  (the table holds the only instance)
    def names(self) -> frozenset[str]:
        """Return the YAML files in the package, with every letter of a scale that one lists."""
        from ultralytics import cfg
        from ultralytics.utils import YAML

        found = set()
        for path in Path(cfg.__file__).parent.glob("models/**/*.yaml"):
            found.add(path.name)
            # yolo11-seg.yaml at scale n is yolo11n-seg.yaml: the letter follows the version.
            version = re.match(r"\D*\d+", path.stem)
            if version:
                scales = YAML.load(path).get("scales") or {}
                found |= {f"{version[0]}{scale}{path.name[version.end() :]}" for scale in scales}
        return frozenset(found)

    def resolved(self, name: str, kwargs: Mapping[str, Any]) -> Named:
        """Return the name of a YAML file, or the path of a checkpoint that may be unpickled."""
        if not name.endswith(".pt"):
            return super().resolved(name, kwargs)
        spec = f"{self.prefix}/{name}"
        self.require(spec)
        if not Path(name).is_file():
            raise ModelError(Problem(spec, "there is no such file", "ultralytics/yolo11n.yaml needs none"))
        check_allowed(spec)
        return Named(name, kwargs)

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return what builds a model from its YAML file, or reads it from a checkpoint."""
        import ultralytics.nn.tasks  # noqa: F401

        if pretrained:
            tip = f"download {Path(name).stem}.pt, and give ultralytics/{Path(name).stem}.pt with `unsafe_pickle=True`"
            raise ModelError(
                Problem(f"{self.prefix}/{name}", "ultralytics has its weights as pickles only", tip)
            )
        return (
            partial(_from_checkpoint, name) if name.endswith(".pt") else partial(_from_yaml, name, **kwargs)
        )

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield the YAML file that the model was built from, if it is one of the package."""
        config = getattr(model, "yaml", None)
        if not isinstance(config, dict):
            return
        name = Path(str(config.get("yaml_file"))).name
        if self.is_installed() and self.has(name):
            kwargs = {"nc": config.get("nc"), "ch": config.get("channels", 3)}
            yield Named(name, kwargs)
            # As ultralytics leaves the activations of what it reads from a checkpoint.
            yield Named(name, {**kwargs, "inplace": True})

    def input_size(self, model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> Size:
        """Return 640×640, at which they are trained; 224×224 for its classifiers."""
        side = 224 if type(model).__name__ == "ClassificationModel" else 640
        return (int(kwargs.get("ch", 3)), side, side)


def wrapper(name: str) -> Any:
    """Return ultralytics' ``YOLO`` or ``RTDETR`` of a YAML file or a checkpoint."""
    from ultralytics import RTDETR, YOLO
    from ultralytics.nn.tasks import yaml_model_load

    # YOLO turns itself into the other only for checkpoints.
    is_other = not name.endswith(".pt") and yaml_model_load(name)["head"][-1][2] == "RTDETRDecoder"
    return (RTDETR if is_other else YOLO)(name)


def _from_yaml(name: str, inplace: bool | None = None, **kwargs: Any) -> nn.Module:
    model: nn.Module = wrapper(name).model
    if kwargs:
        model = type(model)(name, **{"ch": 3, "verbose": False, **kwargs})
    if inplace is not None:
        model = copy.deepcopy(model)  # all its models in this process share one activation
        for module in model.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", inplace)  # noqa: B010  (mypy takes an attribute of a module for a tensor)
    return model


def _from_checkpoint(path: str) -> nn.Module:
    from ultralytics.nn.tasks import load_checkpoint

    model: nn.Module = load_checkpoint(path)[0]
    return model.requires_grad_(True)
