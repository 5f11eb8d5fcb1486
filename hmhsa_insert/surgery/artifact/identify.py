"""Identify: find out how a model that was given as an object can be built again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, fx, nn

from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.artifact.manifest import is_rebuildable
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.load import SOURCE, ModelSource, build_bare
from hmhsa_insert.surgery.base.sources.table import LIBRARIES
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.edit.undo import base_state_dict, remove


def identify(model: nn.Module) -> ModelSource | None:
    """Return a source that builds the base network of `model` again, without its weights; None if unknown.

    A library's network counts only if its modules, keys and shapes are the same: `model` may have been
    changed since it was built. A user's own factory is not checked, since only the user will call it.

    Args:
        model: a network, edited or not.
    """
    known: ModelSource | None = notes(model).get(SOURCE)
    if known and known.library is None:
        return known
    state = base_state_dict(model) if ledgers(model) else model.state_dict()
    # A GraphModule has no classes to compare: its keys and shapes must do.
    base = None if isinstance(model, fx.GraphModule) else remove(model) if ledgers(model) else model
    for candidate in _candidates(known, base):
        try:
            built = build_bare(candidate)
        except ModelError:
            continue
        same = _shapes(built.state_dict()) == _shapes(state)
        if same and (base is None or _structure(built) == _structure(base)):
            return replace(candidate, weights=known.weights if known else "")
    return None


def _candidates(known: ModelSource | None, base: nn.Module | None) -> Iterator[ModelSource]:
    if known and is_rebuildable(known):
        yield known
    if base is None:
        return
    for prefix, library in LIBRARIES.items():
        for name, kwargs in library.candidates(base):
            yield ModelSource(f"{prefix}/{name}", kwargs)


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, Tensor)}


def _structure(model: nn.Module) -> list[tuple[str, str, str]]:
    """Return name, class and options of every module, but not the device that lists of tensors print."""
    lists = (nn.ParameterList, nn.ParameterDict)
    return [
        (name, type(module).__qualname__, "" if isinstance(module, lists) else module.extra_repr())
        for name, module in model.named_modules()
    ]
