"""Load: build the network that a MODEL argument names."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import HmhsaInsertError, ModelError, Problem, first_line, near
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.files.numbers import big
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.given_base import base_factory
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.surgery.base.sources.library import DEFAULT_SIZE, Library
from hmhsa_insert.surgery.base.sources.pickles import is_unpickling_allowed, unpickling
from hmhsa_insert.surgery.base.sources.table import LIBRARIES
from hmhsa_insert.tables import Table, left

SOURCE = "_hmhsa_insert_source"
_ARTIFACT = "plan.json"  # every artifact of a network has one
_MODELS_TIP = "`hmhsa-insert models PATTERN` lists names"
_FORMS_TIP = f"write {', '.join(each.form for each in LIBRARIES.values())} or package.module:factory"


@dataclass(frozen=True)
class ModelSource:
    """Where a network comes from: enough to build it again.

    Attributes:
        spec: ``LIBRARY/NAME``, ``hf-hub:USER/NAME`` or ``package.module:factory``.
        kwargs: keyword arguments for its factory.
        weights: the repository on the Hub of the pretrained weights it was built with; empty if none is known.
    """

    spec: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""

    @property
    def library(self) -> Library | None:
        """The library that builds it; None for a factory of the user's."""
        return LIBRARIES.get(ModelSpec(self.spec).prefix)

    @property
    def bare(self) -> str:
        """Its name within its library, or what names a factory."""
        return ModelSpec(self.spec).bare if self.library else self.spec

    @property
    def name(self) -> str:
        """The bare name, for tables."""
        return self.spec.split("/", 1)[-1].rsplit(":", 1)[-1]

    @property
    def is_library(self) -> bool:
        """True if building it runs code of its library only, no module or file that the source names."""
        library = self.library
        return library is not None and library.is_installed() and library.has(self.bare)


@dataclass(frozen=True, repr=False)
class LoadedModel(Printed):
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

    def tables(self) -> Sequence[Table]:
        """Return where the network comes from, what it takes and how large it is."""
        device = next((str(each.device) for each in self.model.parameters()), "none")
        rows = [
            ("class", type(self.model).__name__),
            ("input", str(self.inputs)),
            ("parameters", big(sum(each.numel() for each in self.model.parameters()))),
            ("pretrained weights", self.source.weights),
            ("device", "meta: shapes without weights" if device == "meta" else device),
        ]
        notes = ["the network itself is its .model"]
        return [Table.of(self.source.spec, [left(), left()], [row for row in rows if row[1]], notes)]


def named_by_file(
    spec: str, where: str, allow_code: bool, error: type[HmhsaInsertError] = ModelError, or_else: str = ""
) -> str:
    """Return the name of a network that a file gives; refuse names of code unless the user allows them.

    A name that the user types needs no permission, nor does a file that repeats it. Everything that reads a name from
    a file, which may come from anyone, calls this before anything is built.

    Args:
        spec: what the file names.
        where: the file, and the place in it.
        allow_code: whether the user allows code that a file names.
        error: the class to raise if the name is refused.
        or_else: what the user can do instead of allowing it.

    Raises:
        HmhsaInsertError: an `error`: the file names code.
    """
    if ModelSpec(spec).is_code and not allow_code and spec != base_factory():
        message = f"it names code to import and run, '{spec}', and no file may do that by itself"
        tip = "if you trust it: `allow_code=True`"
        raise error(Problem(where, message, f"{tip}; or {or_else}" if or_else else tip))
    return spec


@reads_arguments
def load_model(
    spec: str, *, pretrained: bool = False, meta: bool = False, unsafe_pickle: bool = False, **kwargs: Any
) -> LoadedModel:
    """Build a model by its name in a library, or with a factory function of your own.

    Args:
        spec: ``"timm/NAME"``, ``"torchvision/NAME"``, a bare name (looked up in timm first, then in torchvision),
            ``"ultralytics/yolo11n.yaml"`` or a checkpoint ``"ultralytics/FILE.pt"``, ``"transformers/FOLDER"``,
            ``"smp/Unet:resnet34"``, ``"hf-hub:USER/NAME"`` (a model of timm on the Hub, with its weights), or
            ``"package.module:factory"``.
        pretrained: download and load the library's pretrained weights.
        meta: build on the meta device if the factory can: shapes without weights, which is enough for
            ``hi.locate_stages`` and ``hi.plan``.
        unsafe_pickle: read a checkpoint that is a pickle, which runs any code that its author put in.
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
    with unpickling(unsafe_pickle or is_unpickling_allowed()), warnings.catch_warnings():
        source = _resolved(spec, kwargs)
        build = _builder(source, pretrained)
        warnings.simplefilter("ignore", FutureWarning)  # about future changes of a library's initial weights
        if meta and not pretrained:
            with contextlib.suppress(Exception, SystemExit), torch.device("meta"):
                return _loaded(build(), source, pretrained)
        try:
            model = build()
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # a script that parses its own arguments exits
            raise ModelError(_why_not_built(source, pretrained, error)) from error
    return _loaded(model, source, pretrained or ModelSpec(spec).is_on_hub)


def model_names() -> dict[str, list[str]]:
    """Return the names of all models of each library that is installed."""
    return {
        prefix: sorted(each.names())
        for prefix, each in LIBRARIES.items()
        if each.is_installed() and each.names()
    }


def build_bare(source: ModelSource) -> nn.Module:
    """Build a network without weights, for comparing."""
    return load_model(source.spec, meta=True, **source.kwargs).model


def _builder(source: ModelSource, pretrained: bool) -> Callable[[], Any]:
    """Return a function that builds the network; user code is imported here, before a device is set."""
    if source.library:
        return source.library.builder(source.bare, pretrained, source.kwargs)
    if pretrained:
        message = "a factory of your own gives its network the weights it should have"
        raise ModelError(Problem(source.spec, message, "leave `pretrained=True` out, or give `weights=FILE`"))
    return partial(_factory(source.spec), **source.kwargs)


def _why_not_built(source: ModelSource, pretrained: bool, error: BaseException) -> Problem:
    reason = first_line(error)
    if ModelSpec(source.spec).is_code:
        message = f"the factory raised {type(error).__name__}: {reason}"
        bare = isinstance(error, TypeError) and not source.kwargs
        return Problem(source.spec, message, "it is called without arguments" if bare else "")
    if pretrained:
        message = f"its pretrained weights are not available: {reason}"
        return Problem(source.spec, message, "a file of weights can be given: `weights=FILE`")
    return Problem(source.spec, f"it cannot be built: {reason}")


def _loaded(model: Any, source: ModelSource, pretrained: bool) -> LoadedModel:
    if not isinstance(model, nn.Module):
        message = f"the factory returned {type(model).__name__}, not a torch.nn.Module"
        raise ModelError(Problem(source.spec, message))
    library = source.library
    if library and pretrained:
        source = replace(source, weights=library.weights_of(model))
    notes(model)[SOURCE] = source
    size = library.input_size(model, source.bare, source.kwargs) if library else DEFAULT_SIZE
    return LoadedModel(model, source, size)


def _resolved(spec: str, kwargs: Mapping[str, Any]) -> ModelSource:
    """Return what builds the model that a user names, with its library in front."""
    named = ModelSpec(spec)
    prefix = named.prefix
    if named.is_code:
        return ModelSource(spec, kwargs)
    if prefix != spec and prefix in LIBRARIES:
        found = LIBRARIES[prefix].resolved(named.bare, kwargs)
        return ModelSource(spec.removesuffix(named.bare) + found.name, found.kwargs)
    if os.path.isfile(os.path.join(spec, _ARTIFACT)):
        message = "this is an artifact: a base network with edits"
        raise ModelError(Problem(spec, message, "hi.load builds it; commands take it as MODEL"))
    if "/" in spec:
        message = f"there is no such folder, and no library '{prefix}'"
        if os.path.isdir(spec):
            message = "this folder is not an artifact that `apply` wrote"
        raise ModelError(Problem(spec, message, _FORMS_TIP))
    searched = [each for each in LIBRARIES.values() if each.is_open]
    for library in searched:
        if library.has(spec):
            return ModelSource(f"{library.prefix}/{spec}", kwargs)
    tip = near(spec, {name for library in searched for name in library.names()}) or _MODELS_TIP
    module, dot, factory = spec.rpartition(".")
    if dot:
        tip = f"write a function of your own as {module}:{factory}"
    raise ModelError(Problem(spec or "MODEL", "neither timm nor torchvision has a network of this name", tip))


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
