"""Restore what a network's code keeps outside of it, after a run on fake tensors or copies.

Tables in globals, class attributes and ``functools.lru_cache`` outlive a run. Filled by a run on fake
tensors, they would give those to the user's own network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_CONTAINERS = (dict, list, set)
_NOT_THE_USERS = ("torch", "builtins", "hmhsa_insert")


@contextmanager
def without_side_effects(model: nn.Module) -> Iterator[None]:
    """Restore the globals and classes of the files that `model` is written in."""
    spaces = [(put, dict(space)) for put, space in _spaces(model)]
    values = [value for _, space in spaces for value in space.values()]
    containers = [(value, value.copy()) for value in values if type(value) in _CONTAINERS]
    caches = [cache for value in values if (cache := _cache_of(value))]
    for cache in caches:  # so that all runs start in the same state
        cache.cache_clear()
    try:
        yield
    finally:
        for put, before in spaces:
            put(before)
        for value, kept in containers:
            _refill(value, kept)
        for cache in caches:
            cache.cache_clear()


def _spaces(model: nn.Module) -> Iterator[tuple[Callable[[dict[str, Any]], None], dict[str, Any]]]:
    """Yield each namespace with a function that restores it from an earlier copy."""
    classes = {cls for module in model.modules() for cls in type(module).__mro__}
    own = [cls for cls in classes if cls.__module__.partition(".")[0] not in _NOT_THE_USERS]
    for cls in own:
        yield lambda before, cls=cls: _reset_class(cls, before), vars(cls)  # type: ignore[misc]
    for name in {cls.__module__ for cls in own} & sys.modules.keys():
        space = vars(sys.modules[name])
        yield lambda before, space=space: _reset(space, before), space  # type: ignore[misc]


def _reset(space: dict[str, Any], before: dict[str, Any]) -> None:
    for name in space.keys() - before.keys():
        del space[name]
    for name, value in before.items():
        if space.get(name) is not value:
            space[name] = value


def _reset_class(cls: type, before: dict[str, Any]) -> None:
    for name in vars(cls).keys() - before.keys():
        type.__delattr__(cls, name)
    for name, value in before.items():
        if vars(cls).get(name) is not value:
            type.__setattr__(cls, name, value)


def _refill(value: Any, kept: Any) -> None:
    if len(value) == len(kept) and all(a is b for a, b in zip(_items(value), _items(kept), strict=True)):
        return
    value.clear()
    value.extend(kept) if isinstance(value, list) else value.update(kept)


def _items(value: Any) -> list[Any]:
    return [part for pair in value.items() for part in pair] if isinstance(value, dict) else list(value)


def _cache_of(value: Any) -> Any:
    """Return the cached function in `value`, which may be a static or class method; else None."""
    function = getattr(value, "__func__", value) if isinstance(value, staticmethod | classmethod) else value
    return function if hasattr(function, "cache_clear") and hasattr(function, "cache_info") else None
