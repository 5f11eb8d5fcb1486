"""timm's models on the Hugging Face Hub, with the weights that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from pydantic import Field
from torch import nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.files.hub import fetched, hub_errors, split
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.numbers import big
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.surgery.base.bounded import at_most
from hmhsa_insert.surgery.base.sources.library import Named
from hmhsa_insert.surgery.base.sources.of_timm import Timm

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_TIP = "it must hold a model of timm, or what `hmhsa-insert push` wrote"
_MODULES = 50_000  # ten times those of the largest networks of timm
_Plain = str | int | float | bool | None


class _Config(Shape):
    """What a stranger's ``config.json`` may ask timm to build."""

    architecture: str
    num_classes: int | None = Field(default=None, ge=0, le=10**6)
    model_args: dict[str, _Plain | list[_Plain]] = Field(default_factory=dict)


class Hub(Timm):
    """``hf-hub:USER/NAME``, with ``@REVISION`` if it is not the newest; weights come with it.

    No file may name such a model: who asks for it is whoever types the name.
    """

    prefix = "hf-hub"
    form = "hf-hub:USER/NAME"
    is_open = False

    def names(self) -> frozenset[str]:
        """Return no name: what there is, only the Hub knows."""
        return frozenset()

    def has(self, name: str) -> bool:
        """Return False: no file may ask for one."""
        return False

    def resolved(self, name: str, kwargs: Mapping[str, Any]) -> Named:
        """Return the name as it is; the Hub is asked when the model is built."""
        return Named(name, kwargs)

    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield none: the architecture in a model's configuration is timm's, and needs no connection."""
        return iter(())

    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return timm's own factory for models on the Hub, within a bound on their modules.

        Raises:
            ModelError: the repository holds no model of timm, or asks for what only a caller may ask for.
            HubError: it cannot be reached.
        """
        spec = f"{self.prefix}:{name}"
        self._check(spec)
        create = partial(timm.create_model, spec, **kwargs)

        def build() -> Any:
            with at_most(_MODULES):
                with torch.device("meta"):
                    hollow = create()
                _check_size(spec, sum(tensor.numel() for tensor in hollow.state_dict().values()))
                return hollow if torch.get_default_device().type == "meta" else create(pretrained=True)

        return build

    def _check(self, spec: str) -> None:
        """Raise unless ``config.json`` names a network of timm, and its options are numbers and texts."""
        if fetched(spec) != spec:
            message = "this is an artifact: a base network with edits"
            raise ModelError(Problem(spec, message, "hi.load builds it; commands take it as MODEL"))
        path = _file(spec, _CONFIG)
        if path is None:
            raise ModelError(Problem(spec, f"this repository has no {_CONFIG}", _TIP))
        known = checked(_Config, read_json_mapping(path, ModelError), path, ModelError)
        if not timm.is_model(known.architecture):
            message = f"{_CONFIG} asks for '{known.architecture}', and timm has no network of this name"
            raise ModelError(Problem(spec, message, _TIP))


def _check_size(spec: str, numbers: int) -> None:
    """Refuse a network with more numbers than its file of weights has bytes, before it takes memory."""
    path = _file(spec, _WEIGHTS)
    if path is not None and path.stat().st_size < numbers:
        message = f"{_CONFIG} asks for a network of {big(numbers)} numbers, and {_WEIGHTS} is smaller"
        raise ModelError(Problem(spec, message, _TIP))


def _file(spec: str, name: str) -> Path | None:
    """Return a file of a repository, downloaded if it is not in the cache yet; None if it has none of this name."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    repository, revision = split(spec)
    with hub_errors(spec):
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except RemoteEntryNotFoundError:
            return None
