"""The classes of a host: its user's, ours with expressions wrapped, and torch's parametrized one on top of both."""

from __future__ import annotations

import abc
from typing import Any

from torch import nn
from torch.nn.utils import parametrize


def user_class(kind: type) -> type:
    """Return the class that the user wrote, for one of ours or of torch's that was made from it."""
    if _is_parametrized(kind):
        return user_class(kind.__bases__[0])
    base: type = vars(kind).get("hmhsa_base", kind)
    return base


def our_class(kind: type) -> type | None:
    """Return the class of ours that `kind` is, or that torch parametrized; None for a network's own."""
    if _is_parametrized(kind):
        return our_class(kind.__bases__[0])
    return kind if "hmhsa_base" in vars(kind) else None


def set_class(host: nn.Module, made: type) -> None:
    """Give `host` another class under torch's parametrized one, if it has that: each host has its own."""
    kind = type(host)
    if _is_parametrized(kind):
        own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        made = new_class(f"Parametrized{made.__name__}", (made,), own)
    host.__class__ = made


def new_class(name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    """Make a class of which those it inherits from take no notice: registries stay as they are."""
    meta = type(bases[0])
    make = abc.ABCMeta.__new__ if issubclass(meta, abc.ABCMeta) else type.__new__
    made = make(meta, name, (_Unnoticed, *bases), namespace)
    made.__bases__ = bases
    return made


class _Unnoticed:
    """Stands before the user's classes while one is made, so that no ``__init_subclass__`` of theirs runs."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Do nothing."""


def _is_parametrized(kind: type) -> bool:
    is_torchs = kind.__module__ == parametrize.__name__
    return is_torchs and kind.__name__ == f"Parametrized{kind.__bases__[0].__name__}"
