"""What every kind of selector has, and what it may ask of a located network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from hmhsa_insert.recipe.fields import Count, Globs
from hmhsa_insert.recipe.match import any_matches
from hmhsa_insert.recipe.schema import OpName

# A located network as the selector of one edit sees it: hmhsa_insert.surgery.sites.select.EditView, which says what can
# be asked. What it does not find it refuses, and returns None. Recipes are read without torch, so it is not imported.
NetworkView = Any
_NOTHING: tuple[Any, ...] = (None, [], {})


class Selector(BaseModel):
    """The places of one edit, ``at``. A subclass is one kind: the fields are its keys, their docstrings the help.

    To add a kind, derive a class and give it a row in :mod:`hmhsa_insert.recipe.selectors.table`.

    Attributes:
        kind: the key that names the kind.
        ops: the operations that take it; ``insert`` asks for :meth:`maps`, the others for :meth:`modules`.
        is_region: whether ``replace`` asks for :meth:`regions` in their place, and takes ``keep``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    kind: ClassVar[str]
    ops: ClassVar[tuple[OpName, ...]]
    is_region: ClassVar[bool] = False

    exclude: Globs = ()
    """A glob over qualified names, or a list of them, to leave out."""
    expect: Count = None
    """How many sites must match; if left out, at least one."""

    def maps(self, network: NetworkView) -> Iterable[Any]:
        """Return the maps that ``insert`` means: those of its modules, unless a kind says otherwise."""
        return (network.map_of_module(name) for name in self.modules(network) if name)

    def modules(self, network: NetworkView) -> Sequence[str | None]:
        """Return the names of the modules that ``replace`` and ``remove`` mean; None for what was refused."""
        raise NotImplementedError

    def regions(self, network: NetworkView) -> Iterable[Any]:
        """Return the regions that ``replace`` means."""
        raise NotImplementedError

    def excludes(self, qualname: str) -> bool:
        """Return True if `qualname` is left out by ``exclude``."""
        return any_matches(self.exclude, qualname)

    def to_dict(self) -> dict[str, Any]:
        """Return the selector as it would be written in a recipe."""
        written = self.model_dump(by_alias=True)
        stated = {key: value for key, value in written.items() if value not in _NOTHING}
        return {self.kind: stated.pop(self.kind), **dict(sorted(stated.items()))}
