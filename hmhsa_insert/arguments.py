"""The arguments of the public functions, read in one place: by the types of their signatures.

A value of another type is an error that names the argument, what was expected and what was found; whole numbers of
NumPy become Python's. Two tables say the rest: what each type is called and takes, and what to do about a mistake that
people make.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import operator
import os
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

from hmhsa_insert.errors import Argument, ArgumentError, Problem, listed

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 60  # characters of a value in a message


class _Refused(Exception):
    """A value is of none of the types; `place` is where in the argument."""

    def __init__(self, value: Any, place: str = "") -> None:
        super().__init__()
        self.value, self.place = value, place


def reads_arguments(function: F) -> F:
    """Have a function refuse arguments of other types than its signature says.

    Raises:
        ArgumentError: by the function that is returned: all arguments that are of another type.
    """
    signature = inspect.signature(function)

    @functools.cache
    def kinds() -> dict[str, Any]:
        hints = typing.get_type_hints(function)  # at the first call: importing is fast
        fixed = (each for each in signature.parameters.values() if each.kind not in _REST)
        return {each.name: hints[each.name] for each in fixed if each.name in hints}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own message
        problems = []
        for name, kind in kinds().items():
            if name in bound.arguments:
                try:
                    bound.arguments[name] = _read(kind, bound.arguments[name])
                except _Refused as refused:
                    problems.append(_problem(name, kind, refused))
        if problems:
            raise ArgumentError(problems)
        return function(*bound.args, **bound.kwargs)

    call.reads_arguments = True  # type: ignore[attr-defined]
    return cast(F, call)


_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError
    return operator.index(value)


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError
    return float(cast(float, value))


def _switch(value: Any) -> bool:
    if not (isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")):
        raise TypeError
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _path(value: Any) -> Path:
    if isinstance(value, str) or not isinstance(value, os.PathLike):
        raise TypeError
    return value if isinstance(value, Path) else Path(os.fspath(value))


class _Plain(NamedTuple):
    """A type with a name for people: `read` returns the value, or raises TypeError or ValueError."""

    name: str
    read: Callable[[Any], Any]


_PLAIN: dict[Any, _Plain] = {
    bool: _Plain("True or False", _switch),
    int: _Plain("a whole number", _whole),
    float: _Plain("a number", _number),
    str: _Plain("a text", _text),
    Path: _Plain("a path", _path),
}
_UNIONS = (typing.Union, types.UnionType)


def _read(kind: Any, value: Any) -> Any:
    """Return a value as its type has it; raise where it is of another type."""
    if isinstance(kind, TypeVar):
        kind = kind.__bound__
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is None:
        return value
    if origin in _UNIONS:
        return _read_union(members, value)
    if kind in _PLAIN:
        try:
            return _PLAIN[kind].read(value)
        except (TypeError, ValueError, OverflowError):
            raise _Refused(value) from None
    if origin is Literal:
        if isinstance(value, str | int | None) and value in members:
            return value
        raise _Refused(value)
    if origin is not None and isinstance(origin, type) and origin is not type:
        return _read_container(origin, members, value)
    if isinstance(kind, type) and not _is_of(kind, value):
        raise _Refused(value)
    return value


def _read_union(members: tuple[Any, ...], value: Any) -> Any:
    deepest = _Refused(value)
    for member in members:
        try:
            return _read(member, value)
        except _Refused as refused:
            deepest = refused if refused.place else deepest
    raise deepest


def _read_container(origin: Any, members: tuple[Any, ...], value: Any) -> Any:
    if origin is collections.abc.Callable:
        if callable(value) and not isinstance(value, type):
            return value
        raise _Refused(value)
    if origin is tuple:
        fixed = ... not in members
        if not isinstance(value, tuple | list) or (fixed and len(value) != len(members)):
            raise _Refused(value)
        kinds = members if fixed else members[:1] * len(value)
        return tuple(
            _item(kind, item, f"[{place}]")
            for place, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, origin):
        raise _Refused(value)
    if issubclass(origin, Mapping):
        return {_item(members[0], key, "a key"): _item(members[1], value[key], f"[{key!r}]") for key in value}
    try:
        items = list(value)
    except TypeError:  # a tensor that is one number
        raise _Refused(value) from None
    return [_item(members[0], item, f"[{number}]") for number, item in enumerate(items)]


def _item(kind: Any, value: Any, place: str) -> Any:
    try:
        return _read(kind, value)
    except _Refused as refused:
        raise _Refused(refused.value, place + refused.place) from None


def _is_of(kind: type, value: Any) -> bool:
    if getattr(kind, "_is_protocol", False):
        wanted = [name for name in vars(kind) if not name.startswith("_")]
        return not isinstance(value, type) and all(hasattr(value, name) for name in wanted)
    return isinstance(value, kind)


def _problem(name: str, kind: Any, refused: _Refused) -> Problem:
    expected = _joined(_names(kind))
    message = f"{expected} was expected, found {_found(refused.value)}"
    if refused.place:
        message = f"{message} at {refused.place[:_SHOWN]}"
    tips = (row.tip(refused.value) for row in _MISTAKES if row.fits(name, kind, refused.value))
    return Problem(Argument(name), message, next(tips, ""))


def _names(kind: Any) -> list[str]:
    """Return what a type is called, each member of a union by itself; None where it may be left out is not named."""
    if isinstance(kind, TypeVar):
        kind = kind.__bound__
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return list(
            dict.fromkeys(name for each in members if each is not type(None) for name in _names(each))
        )
    if kind in _PLAIN:
        return [_PLAIN[kind].name]
    if origin is Literal:
        return [listed([str(each) for each in members])]
    if origin is collections.abc.Callable:
        return ["a function"]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ["a dict"]
    if origin is not None:
        count = f"{len(members)} " if origin is tuple and ... not in members else ""
        return [f"a list of {count}{_plural(members)}"]
    if getattr(kind, "_is_protocol", False):
        return [f"a {kind.__name__}"]
    module = "torch.nn." if kind.__module__ == "torch.nn.modules.module" else ""
    return [f"a {module}{kind.__name__}"]


def _plural(members: tuple[Any, ...]) -> str:
    names: dict[Any, str] = {str: "texts", int: "whole numbers", float: "numbers"}
    return names[members[0]] if members and members[0] in names else "values"


def _joined(names: list[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _found(value: Any) -> str:
    if _is_shown(value):
        return repr(value)[:_SHOWN]
    if isinstance(value, str):
        return f"'{value[:_SHOWN]}'"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {getattr(value, '__name__', '')}".strip()
    if isinstance(value, list | tuple) and all(_is_shown(item) for item in value):
        return repr(value)[:_SHOWN]
    plain: dict[Any, str] = {list: "a list", tuple: "a tuple", dict: "a dict", set: "a set", bytes: "bytes"}
    return plain.get(type(value), f"an object of type {type(value).__name__}")


def _is_shown(item: Any) -> bool:
    return item is None or isinstance(item, bool | int | float)


class _Mistake(NamedTuple):
    """A mistake that people make: where it fits, and what to do about it."""

    fits: Callable[[str, Any, Any], bool]
    tip: Callable[[Any], str]


def _wants_network(kind: Any) -> bool:
    members = typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)
    bounds = (each.__bound__ if isinstance(each, TypeVar) else each for each in members)
    return any(getattr(each, "__module__", "") == "torch.nn.modules.module" for each in bounds)


_MISTAKES = (
    _Mistake(lambda name, kind, value: _wants_network(kind) and hasattr(value, "model") and hasattr(value, "source"),
             lambda value: "give its .model"),
    _Mistake(lambda name, kind, value: _wants_network(kind) and isinstance(value, type),
             lambda value: f"a network is an instance of it: {value.__name__}(...)"),
    _Mistake(lambda name, kind, value: _wants_network(kind) and isinstance(value, str | os.PathLike),
             lambda value: f"hi.load_model('{value}').model builds a network of that name, hi.load(…) an artifact"),
    _Mistake(lambda name, kind, value: name == "recipe" and isinstance(value, list | tuple),
             lambda value: "a recipe is a dict such as {'version': 1, 'edits': [...]}"),
    _Mistake(lambda name, kind, value: typing.get_origin(kind) is not None and isinstance(value, str)
             and any(each.startswith("a list") for each in _names(kind)),
             lambda value: f"put it into a list: ['{value[:_SHOWN]}']"),
    _Mistake(lambda name, kind, value: name == "query", lambda value: "a pixel is its row and its column: (120, 80)"),
)  # fmt: skip
