"""A spot: one way to put a block at a map. A rehearsal finds out which of them works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hmhsa_insert.surgery.base.inputs import LeafPath
from hmhsa_insert.surgery.sites.expression import Expression
from hmhsa_insert.surgery.sites.select import Refusals
from hmhsa_insert.surgery.sites.site import Action, Site


@dataclass(frozen=True)
class Spot:
    """One way to put a block at a map; the attributes are those of a :class:`~hmhsa_insert.surgery.sites.site.Site`."""

    action: Action
    qualname: str
    path: LeafPath = ()
    expression: Expression | None = None
    operation: tuple[str, int] | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)


class PutsFirst(Protocol):
    """Puts a block at the first spot of its map."""

    def __call__(
        self, site: Site, others: Sequence[str], refusals: Refusals, before: Spot | None = None
    ) -> Site | None:
        """Return `site`, which has a node and no module yet, at the first spot of its map.

        None, with a refusal, if there is no spot or its module has a child of that name.

        Args:
            site: what to insert.
            others: names of the nodes that follow, so that one probe finds the expressions of all.
            refusals: the list to add a refusal to.
            before: a spot to try before the others: the input of the module that the recipe names.
        """
