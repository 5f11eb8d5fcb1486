"""Rehearse a plan on a copy made of fake tensors, and decide where each block goes.

The edited copy is recorded like the base network, and the two are compared reader by reader. A block that
does not act where it was put is moved to the next place that :mod:`.spots` offers, until every edit is proved
right or refused.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from hmhsa_insert.errors import HmhsaInsertError, PlanError, Problem, first_line
from hmhsa_insert.recipe import Recipe
from hmhsa_insert.recipe.marks import KeyPath
from hmhsa_insert.surgery.base.fake import fake_copy
from hmhsa_insert.surgery.base.inputs import input_dtype
from hmhsa_insert.surgery.edit.splice import splice
from hmhsa_insert.surgery.locate.recorder import Recorder
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.locate.stand_in import with_stand_ins
from hmhsa_insert.surgery.locate.trace import Trace, as_trace, on_shapes, output_shapes, record
from hmhsa_insert.surgery.proof.other_paths import OtherPaths
from hmhsa_insert.surgery.proof.probe import Expressions
from hmhsa_insert.surgery.proof.spots import spots
from hmhsa_insert.surgery.proof.wiring import Wiring, compare
from hmhsa_insert.surgery.sites.placement import placed
from hmhsa_insert.surgery.sites.select import STAGES_TIP, Refusals
from hmhsa_insert.surgery.sites.site import Plan, Site
from hmhsa_insert.surgery.sites.spot import Spot
from hmhsa_insert.torch_private import FakeTensorMode


class Settling:
    """Decides where each site of a plan goes.

    Args:
        model: the network.
        located: its maps.
        recipe: the recipe, for the places of refusals.
        expressions: those of this trace, if they were found for another recipe.
    """

    def __init__(
        self, model: nn.Module, located: Located, recipe: Recipe, expressions: Expressions | None = None
    ) -> None:
        self._model, self._located, self._recipe = model, located, recipe
        self._expressions = expressions or Expressions(located.trace, model)
        self._other_paths = OtherPaths(model, located)
        self._nodes = {node.name: node for node in located.trace.nodes}
        self._left: dict[tuple[str, str], Iterator[Spot]] = {}
        self._reasons: dict[tuple[str, str], str] = {}

    def first(
        self, site: Site, others: Iterable[str], refusals: Refusals, before: Spot | None = None
    ) -> Site | None:
        """Return `site` at the first spot of its map; see :class:`~hmhsa_insert.surgery.sites.spot.PutsFirst`."""
        node = self._nodes[site.node]
        rest = spots(self._located, self._model, self._expressions, node, (self._nodes[n] for n in others))
        left = itertools.chain([before] if before else [], rest)
        spot = next(left, None)
        if spot is None:
            message = f"the map in '{site.qualname or '(root)'}' is made by code that cannot be edited"
            self._refuse(refusals, site, ("at",), message, "choose the output of a module")
        elif not self._is_free(site, spot):
            message = f"'{spot.qualname or type(self._model).__name__}' already has a '{site.edit}'"
            self._refuse(refusals, site, ("id",), message, "choose an id that is free")
        else:
            self._left[site.edit, site.node] = left
            return self._put(site, spot)
        return None

    def _put(self, site: Site, spot: Spot) -> Site:
        where = {f.name: getattr(spot, f.name) for f in dataclasses.fields(spot)}
        key = f"{spot.qualname}.{site.edit}".lstrip(".")
        return placed(
            self._located, self._model, dataclasses.replace(site, key=key, **where), self._nodes[site.node]
        )

    def _is_free(self, site: Site, spot: Spot) -> bool:
        host = self._model.get_submodule(spot.qualname)
        kept = (vars(host), host._modules, host._parameters, host._buffers)
        # Not hasattr on the module: a class with __getattr__ may have every name.
        return not any(site.edit in names for names in kept) and not hasattr(type(host), site.edit)

    def _refuse(self, refusals: Refusals, site: Site, path: KeyPath, message: str, tip: str) -> None:
        refusals.add(next(edit for edit in self._recipe.edits if edit.id == site.edit), path, message, tip)

    def settle(self, sites: list[Site], refusals: Refusals) -> list[Site]:
        """Return the sites at which every block acts on all readers of its map; refuse the others.

        Raises:
            PlanError: the edited network fails, but with no single edit alone.
        """
        general = ""
        while True:
            made = self._plan(sites)
            found = rehearse(self._model, made, self._located, self._other_paths)
            if not found.problems:
                return list(made.sites)
            general = general or found.general
            # A problem of no single site: find the insertions that fail alone.
            failed = found.by_site or self._failing_alone(made.sites)
            if not failed:
                raise PlanError(Problem(made.model, found.general, "apply its edits one after another"))
            sites = [s for i, s in enumerate(made.sites) if i not in failed]
            moved = [self._moved(made.sites[i], reason, refusals) for i, reason in failed.items()]
            sites += [site for site in moved if site is not None]
            if refusals.problems:
                return sites

    def _plan(self, sites: Iterable[Site]) -> Plan:
        """Return a plan of the sites in order; several blocks of one edit in one host are numbered."""
        seen: Counter[str] = Counter()
        numbered = []
        for site in sites:
            key = f"{site.qualname}.{site.edit}".lstrip(".") if site.key else ""
            seen[key] += 1
            again = f"_{seen[key]}" if key and seen[key] > 1 else ""
            numbered.append(dataclasses.replace(site, key=key + again))
        inputs = self._located.trace.inputs
        return Plan(self._recipe.to_dict(), type(self._model).__name__, inputs, tuple(_ordered(numbered)))

    def _failing_alone(self, sites: Sequence[Site]) -> dict[int, str]:
        """Return the insertions that fail alone, with the reason."""
        failed = {}
        for index, site in enumerate(sites):
            if site.inserts:
                found = rehearse(self._model, self._plan([site]), self._located, self._other_paths)
                if found.problems:
                    failed[index] = found.problems[0]
        return failed

    def _moved(self, site: Site, reason: str, refusals: Refusals) -> Site | None:
        """Return the site at the next spot of its map; None, with a refusal, if there is none."""
        # The reason at the first spot is reported: the later ones were only tried because of it.
        first = self._reasons.setdefault((site.edit, site.node), f"'{site.qualname or '(root)'}': {reason}")
        left = self._left.get((site.edit, site.node), iter(())) if site.inserts else iter(())
        spot = next((spot for spot in left if self._is_free(site, spot)), None)
        if spot is None:
            self._refuse(refusals, site, ("at",), first, STAGES_TIP)
            return None
        return self._put(site, spot)


# Structural changes first, then insertions inside forwards, then hooks; at one site those that change the map
# last.
_STRUCTURAL = ("unstride", "drop", "swap")


def _ordered(sites: list[Site]) -> list[Site]:
    def rank(site: Site) -> tuple[int, bool]:
        where = 0 if site.action in _STRUCTURAL else 2 if site.in_tree else 1
        return where, not site.residual and site.action != "swap"

    return sorted(sites, key=rank)


def rehearse(model: nn.Module, made: Plan, located: Located, other_paths: OtherPaths) -> Wiring:
    """Apply a plan to fake copies, and compare them with the base at both sizes and on all paths.

    Only at the first size if a block runs at no other.

    Raises:
        BlockError: a block cannot be built.
        PlanError: an edit cannot be carried out.
    """
    bound = any(site.one_size for site in made.sites)
    for base in (located.trace, located.other):
        if base is None or (bound and base is located.other):
            continue
        try:
            edited = _recorded(model, made, base)
        except HmhsaInsertError:
            raise
        except Exception as error:
            reason = first_line(error)
            return Wiring(general=f"the edited network fails on an input of {base.inputs}: {reason}")
        found = compare(base, edited, made.sites)
        if found.problems:
            return found if base is located.trace else found.under(f"on an input of {base.inputs}")
        if output_shapes(edited) != output_shapes(base):
            got, wanted = output_shapes(edited), output_shapes(base)
            text = f"the edited network returns {got} on {base.inputs}; the base network {wanted}"
            return Wiring(general=text)
    return other_paths.compare(made)


def _recorded(model: nn.Module, made: Plan, base: Trace) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def run() -> Recorder:
        copy = fake_copy(model, mode, users_hooks=False)
        splice(copy, made)
        return record(copy.eval(), model, base.inputs, input_dtype(model))

    with on_shapes(mode):
        return as_trace(with_stand_ins(mode, run, base.answers), base.inputs, base.answers)
