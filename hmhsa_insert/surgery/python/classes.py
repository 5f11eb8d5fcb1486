"""The classes of a host: the user's, ours with wrapped expressions, and torch's parametrized class above."""

from __future__ import annotations

import abc
from typing import Any

from torch import nn
from torch.nn.utils import parametrize


def user_class(kind: type) -> type:
    """Return the class that the user wrote, given it or a class that we or torch made from it."""
    if _is_parametrized(kind):
        return user_class(kind.__bases__[0])
    base: type = vars(kind).get("hmhsa_base", kind)
    return base


def our_class(kind: type) -> type | None:
    """Return our class if `kind` is one, or torch's parametrized class of one; None for a user's class."""
    if _is_parametrized(kind):
        return our_class(kind.__bases__[0])
    return kind if "hmhsa_base" in vars(kind) else None


def set_class(host: nn.Module, made: type) -> None:
    """Change the class of `host`; if torch parametrized it, change the class under the parametrized one."""
    kind = type(host)
    if _is_parametrized(kind):
        # Each parametrized host has its own class, whose properties compute the parameters: made again on the
        # new base.
        own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        made = new_class(f"Parametrized{made.__name__}", (made,), own)
    host.__class__ = made


def new_class(name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    """Make a class without the hooks of its base classes, so that their registries do not change."""
    meta = type(bases[0])
    # Not by calling the metaclass, which may be the user's and register what it makes; abstract ones need
    # their own.
    make = abc.ABCMeta.__new__ if issubclass(meta, abc.ABCMeta) else type.__new__
    made = make(meta, name, (_Unnoticed, *bases), namespace)
    made.__bases__ = bases
    return made


class _Unnoticed:
    """First base class while a class is made, so that no ``__init_subclass__`` of the user's classes runs."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Do nothing."""


def _is_parametrized(kind: type) -> bool:
    is_torchs = kind.__module__ == parametrize.__name__
    return is_torchs and kind.__name__ == f"Parametrized{kind.__bases__[0].__name__}"
