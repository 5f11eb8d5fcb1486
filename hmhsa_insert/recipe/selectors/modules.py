"""Selectors of modules: ``module`` by name, ``class`` by class, ``node`` by a value that they return."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from hmhsa_insert.errors import listed, near
from hmhsa_insert.recipe.fields import Attributes, Globs, Stages, texts
from hmhsa_insert.recipe.match import any_matches, has_attributes
from hmhsa_insert.recipe.schema import OpName
from hmhsa_insert.recipe.selectors.base import NetworkView, Selector

_OPS: tuple[OpName, ...] = ("insert", "replace", "remove")


class ModuleSelector(Selector):
    """Modules by name, and by what they are."""

    kind: ClassVar[str] = "module"
    ops: ClassVar[tuple[OpName, ...]] = _OPS

    names: Globs = Field(alias="module")
    """A glob over qualified module names, or a list of them: * and ? stay within one part, [12] is
    one of these characters, ** is any number of parts."""
    in_stage: Stages = ()
    """Keep only modules inside this stage, or these stages."""
    with_: Attributes = Field(default={}, alias="with")
    """Keep only modules whose attributes have these values. A single value also equals a tuple that
    repeats it (kernel_size: 3 is 3×3); a list equals a tuple item by item."""

    def is_named(self, qualname: str, module: object) -> bool:
        """Return True if one of the names is that of a module."""
        return any_matches(self.names, qualname)

    def none_named(self, modules: dict[str, object]) -> tuple[str, str | None]:
        """Return what to say where none is meant, and the nearest name if there is none of these names."""
        exists = any(any_matches(self.names, name) for name in modules)
        return f"no module is named {listed(self.names)}", None if exists else near(
            self.names[0], modules
        ) or None

    def picks(self, qualname: str, module: object) -> bool:
        """Return True if a module is meant, wherever it runs."""
        named = self.is_named(qualname, module)
        return named and has_attributes(module, self.with_) and not self.excludes(qualname)

    def modules(self, network: NetworkView) -> Sequence[str]:
        """Return the names of the modules that are meant."""
        inside = network.inside("in_stage", self.in_stage) if self.in_stage else network.modules
        found = [
            name for name, module in network.modules.items() if name in inside and self.picks(name, module)
        ]
        if not found:
            message, tip = self.none_named(dict(network.modules))
            narrowed = [key for key in ("with", "in_stage", "exclude") if key in self.to_dict()]
            more = f" with {listed(narrowed)} as given" if narrowed else ""
            network.refuse(self.kind, message + more, tip)
        return found


def _class_problem(name: str) -> str:
    return "" if all(part.isidentifier() for part in name.split(".")) else "write it as nn.GELU or GELU"


def _last_parts(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.rpartition(".")[2] for name in names))


class ClassSelector(ModuleSelector):
    """Modules by class, and by what they are."""

    kind: ClassVar[str] = "class"

    names: Annotated[tuple[str, ...], texts("a class name", _class_problem), AfterValidator(_last_parts)] = (
        Field(alias="class")
    )
    """A class name, or a list of them: the last part of a dotted name counts, and only the class
    itself, not its subclasses."""

    def is_named(self, qualname: str, module: object) -> bool:
        """Return True if the class of a module has one of the names."""
        return type(module).__name__ in self.names

    def none_named(self, modules: dict[str, object]) -> tuple[str, str | None]:
        """Return what to say where none is meant, and the classes there are if none has such a name."""
        classes = sorted({type(module).__name__ for module in modules.values()})
        exists = any(name in classes for name in self.names)
        tip = near(self.names[0], classes) or f"its classes are {', '.join(classes[:12])}"
        return f"no module of class {listed(self.names)}", "" if exists else tip


def _node_problem(name: str) -> str:
    return "" if name.isidentifier() else "fx names hold letters, digits and underscores"


class NodeSelector(Selector):
    """Values of the traced forward, or the modules that return them."""

    kind: ClassVar[str] = "node"
    ops: ClassVar[tuple[OpName, ...]] = _OPS

    names: Annotated[tuple[str, ...], texts("the name of an fx node", _node_problem)] = Field(alias="node")
    """The name of an fx node of the traced model, or a list of them; for experts."""

    def maps(self, network: NetworkView) -> Iterable[Any]:
        """Return the map of each node."""
        return map(network.map_of_node, self.names)

    def modules(self, network: NetworkView) -> Sequence[str | None]:
        """Return the module of each node."""
        return [network.module_of_node(name) for name in self.names]
