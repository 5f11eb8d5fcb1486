"""Splice: carry out a plan on a model, in place, one site after another.

Hooks and registered children change no class, forward or base key. A module that a site displaces is kept in
the model's ledger, outside the module tree, so that :func:`~hmhsa_insert.surgery.edit.undo.remove` can put it
back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from hmhsa_insert.blocks import build_block
from hmhsa_insert.surgery.base.fake import LEDGER, fake_copy, notes
from hmhsa_insert.surgery.base.input import DTYPES
from hmhsa_insert.surgery.base.seeded import seeded
from hmhsa_insert.surgery.edit.graph_node import insert_node
from hmhsa_insert.surgery.edit.inserted import InsertedBlock, InsertedResidual, RunsChild
from hmhsa_insert.surgery.edit.rewrite import rewrite_forward
from hmhsa_insert.surgery.edit.wrapping import wrap
from hmhsa_insert.surgery.sites.placement import weights_beside
from hmhsa_insert.surgery.sites.region import unstride
from hmhsa_insert.surgery.sites.site import Plan, Site
from hmhsa_insert.torch_private import FakeTensor, unset_fake_temporarily


@dataclass
class Change:
    """One change of a model, with what is needed to undo it.

    Attributes:
        site: what was done, and where.
        displaced: for ``swap``, ``drop`` and ``unstride``: the module that was there.
        names: all qualified names of that module (a shared module has several).
        attributes: for ``unstride``: the old values of the attributes that were changed.
    """

    site: Site
    displaced: nn.Module | None = None
    names: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ledger:
    """What one plan did to a model.

    Attributes:
        plan: the plan.
        seed: for the initial values of the new blocks.
        changes: in the order in which they were made.
        backend: ``tree``, or ``graph`` if the model was converted to a ``GraphModule``.
    """

    plan: Plan
    seed: int
    changes: list[Change] = field(default_factory=list)
    backend: Literal["tree", "graph"] = "tree"


def ledgers(model: nn.Module) -> list[Ledger]:
    """Return what was done to `model`, oldest first; empty for a model that was not edited."""
    found: list[Ledger] = notes(model).get(LEDGER, [])
    return found


def set_ledgers(model: nn.Module, done: list[Ledger]) -> None:
    """Store what was done to `model`; an empty list removes the entry."""
    notes(model)[LEDGER] = done
    if not done:
        del notes(model)[LEDGER]


def splice(model: nn.Module, plan: Plan, seed: int = 0) -> None:
    """Carry out `plan` on `model`, in place.

    The initial values of a block depend on `seed` and its key alone, and the global random state does not
    change: another edit changes neither the other blocks nor the order of the training data.
    """
    ledger = Ledger(plan, seed)
    for site in plan.sites:
        ledger.changes.append(_DO[site.action](model, site, seed))
    set_ledgers(model, [*ledgers(model), ledger])


def inserted_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield key and module of everything that edits added to `model` and no later edit displaced."""
    named = dict(model.named_modules(remove_duplicate=False))
    for ledger in ledgers(model):
        for change in ledger.changes:
            if change.site.key in named and change.site.key:
                yield change.site.key, named[change.site.key]


def make_module(site: Site, host: nn.Module, model: nn.Module, seed: int) -> nn.Module:
    """Build the new module of a site on the device and in the dtype of its map, in the mode of its host."""
    reference = weights_beside(host, model)
    device = reference.device if reference is not None else torch.device("cpu")
    if site.device is not None and any(str(p.device) == site.device for p in model.parameters()):
        device = torch.device(site.device)  # else it was planned on another machine
    dtype = reference.dtype if reference is not None else None
    if site.dtype is not None:
        dtype = DTYPES[site.dtype]
    if isinstance(reference, FakeTensor):  # a rehearsal: nothing is drawn and nothing allocated
        with unset_fake_temporarily():
            module = _drawn(site, "meta", seed).to(dtype=dtype)
            module = fake_copy(module, reference.fake_mode, meta_as=device)
        return module.train(host.training)
    # Drawn on the CPU and then moved: initial values are the same on every device.
    module = _drawn(site, "meta" if device.type == "meta" else "cpu", seed)
    return module.train(host.training).to(device=device, dtype=dtype)


def _drawn(site: Site, device: str, seed: int) -> nn.Module:
    """Build the new module of a site with initial values that depend on `seed` and its key alone."""
    digest = hashlib.sha256(f"{seed}:{site.key or site.qualname}".encode()).digest()
    with seeded(None, int.from_bytes(digest[:7], "big")), torch.device(device):
        return _wrapped(site, _build(site))


def _build(site: Site) -> nn.Module:
    block = site.options or site.block
    assert block is not None
    if site.inp is None:
        return build_block(block, channels=0)
    size = (site.inp.height, site.inp.width)
    return build_block(block, site.inp.channels, size=size, out_channels=site.out_channels)


def _wrapped(site: Site, block: nn.Module) -> nn.Module:
    if site.inp is None:
        return block
    residual = site.residual
    wrapped = InsertedResidual(block, site.inp.channels, site.identity) if residual else InsertedBlock(block)
    wrapped.layout = site.layout
    return wrapped


def _hook(model: nn.Module, site: Site, seed: int) -> Change:
    host = model.get_submodule(site.qualname)
    # Not by add_module, which asks the class with hasattr: a class with __getattr__ may have every name.
    host._modules[site.child] = make_module(site, host, model, seed)
    RunsChild(site.child, site.path).hook(host, on_input=site.action == "hook_input")
    return Change(site)


def _expression(model: nn.Module, site: Site, seed: int) -> Change:
    assert site.expression is not None
    host = model.get_submodule(site.qualname)
    child = make_module(site, host, model, seed)
    wrap(host, site.child, child, site.expression, site.qualname or type(model).__name__)
    return Change(site)


def _graph(model: nn.Module, site: Site, seed: int) -> Change:
    assert site.operation is not None
    host = model.get_submodule(site.qualname)
    insert_node(host, site.child, make_module(site, host, model, seed), site.operation[0])
    return Change(site)


def _rewrite(model: nn.Module, site: Site, seed: int) -> Change:
    assert site.operation is not None
    host = model.get_submodule(site.qualname)
    child = make_module(site, host, model, seed)
    where = site.qualname or type(model).__name__
    rewrite_forward(host, site.child, child, site.operation, where, site.lengths)
    return Change(site)


def _swap(model: nn.Module, site: Site, seed: int) -> Change:
    displaced = model.get_submodule(site.qualname)
    names = _names_of(model, displaced)
    module = make_module(site, displaced, model, seed)
    if site.inp is not None:  # the new keys then begin with the edit's id and cannot collide with old ones
        module = _Replacement(site.child, module).train(displaced.training)
    for name in names:
        set_module(model, name, module)
    return Change(site, displaced, names)


def _drop(model: nn.Module, site: Site, _seed: int) -> Change:
    displaced = model.get_submodule(site.qualname)
    names = _names_of(model, displaced)
    # An Identity and not nothing: forwards and containers go on calling the module by its name.
    for name in names:
        set_module(model, name, nn.Identity().train(displaced.training))
    return Change(site, displaced, names)


def _unstride(model: nn.Module, site: Site, _seed: int) -> Change:
    module = model.get_submodule(site.qualname)
    attributes = {name: module.__dict__[name] for name in _STRIDE_ATTRIBUTES if name in module.__dict__}
    instead = unstride(module)
    names = _names_of(model, module)
    if instead is not module:
        for name in names:
            set_module(model, name, instead.train(module.training))
    return Change(site, module, names, attributes)


# What unstriding may change; an nn.Conv2d computes the last one from its padding when it is built.
_STRIDE_ATTRIBUTES = ("stride", "padding", "_reversed_padding_repeated_twice")

_DO = {
    "hook_output": _hook,
    "hook_input": _hook,
    "expression": _expression,
    "graph": _graph,
    "rewrite": _rewrite,
    "swap": _swap,
    "drop": _drop,
    "unstride": _unstride,
}


class _Replacement(nn.Module):
    """Takes the place of a module and runs the child that is named after the edit."""

    def __init__(self, name: str, child: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, child)  # other edits may add children that run through hooks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the child's output."""
        out: torch.Tensor = self._modules[self.name](x)  # type: ignore[misc]
        return out


def _names_of(model: nn.Module, module: nn.Module) -> tuple[str, ...]:
    named = model.named_modules(remove_duplicate=False)
    return tuple(name for name, candidate in named if candidate is module)


def set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` at `name` in the module tree, in place of what is there."""
    parent, _, child = name.rpartition(".")
    model.get_submodule(parent)._modules[child] = module


def keys_of(state: Mapping[str, Any], prefixes: tuple[str, ...]) -> set[str]:
    """Return the keys of `state` at or below one of `prefixes`."""
    return {key for key in state if any(key == p or key.startswith(p + ".") for p in prefixes)}
