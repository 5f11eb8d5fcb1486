"""Load: build the network that a MODEL argument names."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import timm
import torch
import torchvision
from torch import nn

import hmhsa_insert.models  # noqa: F401  (registers transcnn_*, hat_net_* and irb_* with timm)
from hmhsa_insert.errors import HmhsaInsertError, ModelError, Problem, first_line, near
from hmhsa_insert.files.model_spec import LIBRARIES, ModelSpec
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import Inputs

SOURCE = "_hmhsa_insert_source"
_DEFAULT_SIZE = (3, 224, 224)
_MODELS_TIP = "`hmhsa-insert models PATTERN` lists names"
_FORMS_TIP = "write timm/NAME, torchvision/NAME or package.module:factory"


@dataclass(frozen=True)
class ModelSource:
    """Where a network comes from: enough to build it again.

    Attributes:
        spec: ``timm/NAME``, ``torchvision/NAME`` or ``package.module:factory``.
        kwargs: keyword arguments for its factory.
    """

    spec: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The bare name, for tables."""
        return self.spec.split("/", 1)[-1].rsplit(":", 1)[-1]

    @property
    def is_library(self) -> bool:
        """True if building it runs code of timm or torchvision only, no module that the source names."""
        library, _, name = self.spec.partition("/")
        return ":" not in self.spec and _base_name(name) in _names(library)


@dataclass(frozen=True)
class LoadedModel:
    """A network and where it came from.

    Attributes:
        model: the network, in train mode as its factory leaves it.
        source: where it comes from.
        input_size: ``(C, H, W)`` it was made for, according to its library; else 3×224×224.
        own_inputs: the inputs that an artifact was planned with; None if only the image size is known.
    """

    model: nn.Module
    source: ModelSource
    input_size: Size
    own_inputs: Inputs | None = None

    @property
    def name(self) -> str:
        """The bare name, for tables."""
        return self.source.name

    @property
    def inputs(self) -> Inputs:
        """The inputs of the network."""
        return self.own_inputs or Inputs.of(self.input_size)


def named_by_file(
    spec: str, where: str, allow_code: bool, error: type[HmhsaInsertError] = ModelError, or_else: str = ""
) -> str:
    """Return the name of a network that a file gives; refuse names of code unless the user allows them.

    A name that the user types needs no permission. Everything that reads a name from a file, which may come
    from anyone, calls this before anything is built.

    Args:
        spec: what the file names.
        where: the file, and the place in it.
        allow_code: whether the user allows code that a file names.
        error: the class to raise if the name is refused.
        or_else: what the user can do instead of allowing it.

    Raises:
        HmhsaInsertError: an `error`: the file names code.
    """
    if ModelSpec(spec).is_code and not allow_code:
        message = f"it names code to import and run, '{spec}', and no file may do that by itself"
        tip = "if you trust it: --allow-code, or allow_code=True in Python"
        raise error(Problem(where, message, f"{tip}; or {or_else}" if or_else else tip))
    return spec


def load_model(spec: str, *, pretrained: bool = False, meta: bool = False, **kwargs: Any) -> LoadedModel:
    """Build a model by its name in timm or torchvision, or with a factory function of your own.

    Args:
        spec: ``"timm/NAME"``, ``"torchvision/NAME"``, a bare name (looked up in timm first, then in
            torchvision), or ``"package.module:factory"``.
        pretrained: download and load the library's pretrained weights.
        meta: build on the meta device if the factory can: shapes without weights, which is enough for
            ``hi.locate_stages`` and ``hi.plan``.
        **kwargs: passed to the factory, such as ``num_classes=10``.

    Returns:
        An object with the ``model``, its ``source`` (enough to build it again), its ``name`` and the
        ``input_size`` ``(C, H, W)`` it was made for: 3×224×224 if its library does not state one.

    Raises:
        ModelError: there is no model of this name, its module cannot be imported, its factory fails or does
            not return an ``nn.Module``, or its pretrained weights are not available.

    Example:
        >>> import hmhsa_insert as hi
        >>> loaded = hi.load_model("timm/test_resnet", num_classes=10)
        >>> loaded.name, loaded.input_size
        ('test_resnet', (3, 160, 160))
        >>> loaded.model.num_classes
        10
    """
    source = ModelSource(_qualified(spec), kwargs)
    build = _builder(source, pretrained)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about future changes of a library's initial weights
        if meta and not pretrained:
            with contextlib.suppress(Exception, SystemExit), torch.device("meta"):
                return _loaded(build(), source)
        try:
            model = build()
        except (Exception, SystemExit) as error:  # a script that parses its own arguments exits
            raise ModelError(_why_not_built(source, pretrained, error)) from error
    return _loaded(model, source)


def model_names() -> dict[str, list[str]]:
    """Return the names of all models of each library."""
    return {library: sorted(_names(library)) for library in LIBRARIES}


def build_bare(source: ModelSource) -> nn.Module:
    """Build a network without weights, for comparing."""
    return load_model(source.spec, meta=True, **source.kwargs).model


def _builder(source: ModelSource, pretrained: bool) -> Callable[[], Any]:
    """Return a function that builds the network; user code is imported here, before a device is set."""
    library, _, name = source.spec.partition("/")
    if library == "timm":
        return partial(timm.create_model, name, pretrained=pretrained, **source.kwargs)
    if library == "torchvision":
        kwargs: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None, **source.kwargs}
        if "weights_backbone" in inspect.signature(torchvision.models.get_model_builder(name)).parameters:
            kwargs.setdefault("weights_backbone", None)  # else a detector downloads its backbone's
        return partial(torchvision.models.get_model, name, **kwargs)
    if pretrained:
        message = "a factory of your own gives its network the weights it should have"
        raise ModelError(Problem(source.spec, message, "leave --pretrained out, or pass --weights FILE"))
    return partial(_factory(source.spec), **source.kwargs)


def _why_not_built(source: ModelSource, pretrained: bool, error: BaseException) -> Problem:
    reason = first_line(error)
    if ModelSpec(source.spec).is_code:
        message = f"the factory raised {type(error).__name__}: {reason}"
        bare = isinstance(error, TypeError) and not source.kwargs
        return Problem(source.spec, message, "it is called without arguments" if bare else "")
    if pretrained:
        message = f"its pretrained weights are not available: {reason}"
        return Problem(source.spec, message, "a file of weights can be given with --weights FILE")
    return Problem(source.spec, f"it cannot be built: {reason}")


def _loaded(model: Any, source: ModelSource) -> LoadedModel:
    if not isinstance(model, nn.Module):
        message = f"the factory returned {type(model).__name__}, not a torch.nn.Module"
        raise ModelError(Problem(source.spec, message))
    notes(model)[SOURCE] = source
    return LoadedModel(model, source, _input_size(model, source))


def _qualified(spec: str) -> str:
    """Return `spec` with its library in front."""
    library, slash, name = spec.partition("/")
    if ModelSpec(spec).is_code:
        return spec
    if slash and library in LIBRARIES:
        _known(library, name, spec)
        return spec
    if slash:
        message = f"there is no such folder, and no library '{library}'"
        if os.path.isdir(spec):
            message = "this folder is not an artifact that `apply` wrote"
        raise ModelError(Problem(spec, message, _FORMS_TIP))
    for candidate in LIBRARIES:
        if _base_name(spec) in _names(candidate):
            return f"{candidate}/{spec}"
    tip = near(spec, {*_names("timm"), *_names("torchvision")}) or _MODELS_TIP
    module, dot, factory = spec.rpartition(".")
    if dot:
        tip = f"write a function of your own as {module}:{factory}"
    raise ModelError(Problem(spec or "MODEL", "neither timm nor torchvision has a network of this name", tip))


def _known(library: str, name: str, spec: str) -> None:
    if _base_name(name) not in _names(library):
        tip = near(name, _names(library)) or _MODELS_TIP
        raise ModelError(Problem(spec, f"{library} has no network '{name}'", tip))


def _base_name(name: str) -> str:
    """Return a timm name without the tag of its pretrained weights."""
    return name.partition(".")[0]


@cache
def _names(library: str) -> frozenset[str]:
    if library == "timm":
        return frozenset(timm.list_models())
    return frozenset(torchvision.models.list_models()) if library == "torchvision" else frozenset()


def _factory(spec: str) -> Callable[..., Any]:
    """Import the function that ``package.module:factory`` names."""
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise ModelError(Problem(spec, "this does not name a function", _FORMS_TIP))
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not look in the folder it is called from
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = "it exits the program" if isinstance(error, SystemExit) else str(error)
        message = f"module '{module_name}' cannot be imported: {reason}"
        raise ModelError(Problem(spec, message, "it must be in this folder, or installed")) from error
    found = getattr(module, attribute, None)
    if found is None:
        tip = near(attribute, (name for name in dir(module) if callable(getattr(module, name))))
        raise ModelError(Problem(spec, f"'{module_name}' has no '{attribute}'", tip))
    if isinstance(found, nn.Module) or not callable(found):
        message = f"'{attribute}' is of type {type(found).__name__}, not a function that returns a network"
        raise ModelError(Problem(spec, message))
    factory: Callable[..., Any] = found
    return factory


def _input_size(model: nn.Module, source: ModelSource) -> Size:
    config = getattr(model, "pretrained_cfg", None) or {}
    if isinstance(config, Mapping) and config.get("input_size"):
        channels = source.kwargs.get("in_chans", config["input_size"][0])
        return (int(channels), *(int(side) for side in config["input_size"][1:]))
    if source.spec.startswith("torchvision/"):
        return _torchvision_size(source.name)
    return _DEFAULT_SIZE


def _torchvision_size(name: str) -> Size:
    """Return the size that the network's published weights were evaluated at."""
    try:
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms
        side = transforms.keywords["crop_size"]
    except (ValueError, AttributeError, KeyError):
        return _DEFAULT_SIZE
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return (3, int(height), int(width))
