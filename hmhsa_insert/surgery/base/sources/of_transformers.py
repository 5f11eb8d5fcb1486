"""Hugging Face transformers' CNNs: image classifiers and backbones, from a configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

from torch import nn

from hmhsa_insert.errors import ModelError, Problem, first_line
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.sources.library import DEFAULT_SIZE, Library, Named

# Configurations that name a model of another library, which may have to be downloaded.
_WRAPPERS = frozenset({"timm_backbone", "timm_wrapper"})
_TASKS = {"classification": "AutoModelForImageClassification", "backbone": "AutoBackbone"}
# What makes a configuration run code, or reach for files and addresses.
_REFUSED = ("auto_map", "backbone", "backbone_config", "use_pretrained_backbone", "use_timm_backbone")


class Transformers(Library):
    """``transformers/TYPE``, such as ``resnet``, by its default configuration; a folder; or a name on the Hub."""

    prefix = package = "transformers"
    extra = "hf"
    form = "transformers/FOLDER"

    @cache  # noqa: B019  (the table holds the only instance)
    def names(self) -> frozenset[str]:
        """Return the types of model of which there is an image classifier or a backbone."""
        from transformers.models.auto import modeling_auto

        classifiers = modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
        return frozenset({*classifiers, *modeling_auto.MODEL_FOR_BACKBONE_MAPPING_NAMES} - _WRAPPERS)

    def resolved(self, name: str, kwargs: Mapping[str, Any]) -> Named:
        """Return the type of a model, and as `config` the configuration that a folder or the Hub has."""
        spec = f"{self.prefix}/{name}"
        self.require(spec)
        if self.has(name):
            return Named(name, kwargs)
        if "/" not in name and not os.path.isdir(name):
            return super().resolved(name, kwargs)
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(name, local_files_only=os.path.isdir(name))
        except (OSError, ValueError) as error:
            message = f"it has no configuration that can be read: {first_line(error)}"
            raise ModelError(Problem(spec, message)) from error
        if not self.has(config.model_type):
            message = f"its type, '{config.model_type}', is not an image classifier or a backbone"
            raise ModelError(Problem(spec, message, "timm's networks are timm/NAME"))
        return Named(config.model_type, {"config": _as_text(config), **kwargs})

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return what builds a model from its configuration; `head` is ``classification`` or ``backbone``."""
        if pretrained:
            message, tip = "a folder is not downloaded", "give its model.safetensors as `weights=FILE`"
            raise ModelError(Problem(f"{self.prefix}/{name}", message, tip))
        import transformers

        # Looking a class up imports its module.
        kind = getattr(transformers, _TASKS[kwargs.get("head", "classification")])
        if transformers.CONFIG_MAPPING[name] in kind._model_mapping:
            kind._model_mapping[transformers.CONFIG_MAPPING[name]]
        return partial(_build, name, **kwargs)

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield the model's own configuration."""
        config = getattr(model, "config", None)
        kind = getattr(config, "model_type", None)
        if not type(model).__module__.startswith("transformers.") or not self.has(str(kind)):
            return
        for head in _TASKS:
            yield Named(str(kind), {"config": _as_text(config), "head": head})

    def input_size(self, model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> Size:
        """Return the size in the model's configuration, if it has one."""
        config = getattr(model, "config", None)
        channels = getattr(config, "num_channels", DEFAULT_SIZE[0])
        side = getattr(config, "image_size", DEFAULT_SIZE[1])
        height, width = side if isinstance(side, list | tuple) else (side, side)
        return (int(channels), int(height), int(width))


def _build(name: str, config: str | None = None, head: str = "classification", **changed: Any) -> nn.Module:
    import transformers

    written = json.loads(config) if config is not None else {}
    refused = [key for key in _REFUSED if written.get(key)]
    if refused:
        raise ValueError(f"its configuration may not have the key '{refused[0]}'")
    made = transformers.CONFIG_MAPPING[name].from_dict({**written, **changed})
    model: nn.Module = getattr(transformers, _TASKS[head]).from_config(made, trust_remote_code=False)
    return model


def _as_text(config: Any) -> str:
    """Return a configuration as JSON, without where it came from."""
    written = config.to_diff_dict()
    return json.dumps(
        {key: value for key, value in written.items() if not key.startswith("_")}, sort_keys=True
    )
