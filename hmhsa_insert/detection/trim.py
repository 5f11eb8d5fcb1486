"""Trim: leave out of a network what runs behind its last tapped map, the classifier above all.

The trace says which modules begin behind that map. A module in whose place its input passes through costs nothing and
has no parameters, which DDP would find without a gradient. What else is left of the forward (a mean, a flatten) runs
and is thrown away.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

from torch import nn
from torch.fx import Node

from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.edit.splice import set_module
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.locate.trace import trace

# Forwards loop over them and index them, so they stay, with what is in them left out one by one.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Skipped(nn.Module):
    """Stands where a module was that no one reads the output of."""

    def forward(self, x: Any, *_args: Any, **_kwargs: Any) -> Any:
        """Return the first argument."""
        return x


def trimmed(model: nn.Module, located: Located, last: Node) -> nn.Module:
    """Return a copy of `model` without the modules that only run behind `last`.

    Where its forward needs one of them (it reads an attribute of a head, or the shape that a pool makes), the copy is
    whole, and so the head's cost is paid.
    """
    copied = copy.deepcopy(model)
    late = list(_late(copied, "", _early_modules(copied, located, last)))
    for name in late:
        set_module(copied, name, Skipped().train(copied.get_submodule(name).training))
    if late and not _runs(copied, located):
        return copy.deepcopy(model)
    return copied


def parameters_until(located: Located, last: Node) -> frozenset[str]:
    """Return the names of the parameters and buffers that were read before the map `last` was there."""
    position = last.meta["position"]
    return frozenset(str(node.target) for node in located.trace.nodes[:position] if node.op == "get_attr")


def _early_modules(model: nn.Module, located: Located, last: Node) -> set[int]:
    """Return the ids of modules that the map depends on: called before it was there, or holding what was read."""
    position = last.meta["position"]
    names = {call.qualname for call in located.trace.calls if call.first <= position}
    # What hands the map on untouched in eval mode, such as stochastic depth, may change it in training.
    names |= {call.qualname for call in located.trace.calls if any(node is last for _, node in call.outputs)}
    names |= {name.rpartition(".")[0] for name in parameters_until(located, last)}
    # A module that eval mode does not call may be called in training: it stays.
    called = {call.qualname for call in located.trace.calls}
    names |= {name for name, module in model.named_modules() if name not in called and _is_leaf(module)}
    return {id(model.get_submodule(name)) for name in names}


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _late(model: nn.Module, prefix: str, early: Collection[int]) -> Iterator[str]:
    """Yield the outermost modules under `prefix` that are late altogether, containers left standing."""
    for name, child in model.named_children():
        qualname = f"{prefix}{name}"
        if isinstance(child, _CONTAINERS) or any(id(module) in early for module in child.modules()):
            yield from _late(child, f"{qualname}.", early)
        else:
            yield qualname


def _runs(model: nn.Module, located: Located) -> bool:
    """Return True if a trimmed network runs at the sizes that the whole one was traced at."""
    try:
        for traced in filter(None, (located.trace, located.other)):
            trace(model, traced.inputs)
    except ModelError:
        return False
    return True
