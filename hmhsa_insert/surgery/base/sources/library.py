"""A library of models: what it has, how one is built, and how a built one is recognized."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import nn

from hmhsa_insert.errors import ModelError, Problem, near
from hmhsa_insert.surgery.base.input import Size

DEFAULT_SIZE: Size = (3, 224, 224)


class Named(NamedTuple):
    """A model by what builds it again.

    Attributes:
        name: in its library.
        kwargs: for its factory.
    """

    name: str
    kwargs: Mapping[str, Any]


class Library(ABC):
    """One library; a row of ``LIBRARIES`` makes it known.

    Attributes:
        prefix: what its models are called by: ``prefix/NAME``.
        package: what Python imports.
        extra: of this package, that installs it; empty where it is always there.
        form: how its models are written, for messages.
        is_open: True if a bare name, without the prefix, is looked up in it.
    """

    prefix: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str] = ""
    form: ClassVar[str]
    is_open: ClassVar[bool] = False

    @abstractmethod
    def names(self) -> frozenset[str]:
        """Return the names of all its models, which a file may ask for: building one runs the library's code only."""

    @abstractmethod
    def builder(self, name: str, pretrained: bool, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
        """Return what builds a model; the modules that define it are imported here, before a device is set.

        Tensors that a class holds are made when its module is imported, and on the meta device they would stay empty.

        Args:
            name: of the model.
            pretrained: with the library's weights.
            kwargs: for its factory.

        Raises:
            ModelError: there is nothing that could be built.
        """

    @abstractmethod
    def candidates(self, model: nn.Module) -> Iterator[Named]:
        """Yield what might have built `model`; each is built and compared before it is believed."""

    def has(self, name: str) -> bool:
        """Return True if a file may ask for the model `name`."""
        return name in self.names()

    def resolved(self, name: str, kwargs: Mapping[str, Any]) -> Named:
        """Return the model that a user names, by what builds it again anywhere.

        Raises:
            ModelError: the library is not installed, or has no such model.
        """
        self.require(f"{self.prefix}/{name}")
        if not self.has(name):
            tip = near(name, self.names()) or "`hmhsa-insert models PATTERN` lists names"
            raise ModelError(Problem(f"{self.prefix}/{name}", f"{self.prefix} has no network '{name}'", tip))
        return Named(name, kwargs)

    def input_size(self, model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> Size:
        """Return the C, H, W that a model was made for; 3×224×224 where its library does not say."""
        return DEFAULT_SIZE

    def weights_of(self, model: nn.Module) -> str:
        """Return the repository on the Hub of the library's pretrained weights for `model`; empty if there is none."""
        return ""

    def is_installed(self) -> bool:
        """Return True if it can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def require(self, spec: str) -> None:
        """Raise ModelError, with the command that installs it, where it cannot be imported."""
        if not self.is_installed():
            tip = f"pip install 'hmhsa-insert[{self.extra}]'"
            raise ModelError(Problem(spec, f"needs the package {self.package}", tip))
