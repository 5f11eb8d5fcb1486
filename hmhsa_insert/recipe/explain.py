"""What pydantic finds wrong with a file, in plain words: recipes, block options, settings and studies say it alike."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hmhsa_insert.errors import near
from hmhsa_insert.files.shapes import rule_of
from hmhsa_insert.recipe.marks import UNREADABLE, Findings, KeyPath
from hmhsa_insert.recipe.scalars import shown

_Model = TypeVar("_Model", bound=BaseModel)

_SAID = "said"
# What pydantic puts in a place for a key itself, and for the members of a union, which are tagged so.
_NO_KEYS = ("[key]", "[word]", "[list]", "[number]")
_UNKNOWN = ("extra_forbidden", "invalid_key")
# Longer numbers are not worth writing out: 1e999999 would be a megabyte.
_MOST_DIGITS = 12


@dataclass(frozen=True)
class Tip:
    """Annotation of a field: what to do where it is missing."""

    missing: str


@dataclass(frozen=True)
class Found:
    """One thing that is wrong with a value.

    Attributes:
        path: where in the value.
        message, tip: as of a :class:`~hmhsa_insert.errors.Problem`.
        key: whether the key is wrong, not what it holds.
        named: whether the name of the key is still to be put before the message.
    """

    path: KeyPath
    message: str
    tip: str = ""
    key: bool = False
    named: bool = False


def explain(error: ValidationError, root: type[BaseModel], what: str) -> Iterator[Found]:
    """Yield what pydantic found; what is reported already, or follows from a misspelled key, is left out.

    Args:
        error: what the model `root` raised.
        root: the model.
        what: it describes, such as ``the settings``.
    """
    details = error.errors(include_url=False)
    unknown = [tuple(each["loc"]) for each in details if each["type"] in _UNKNOWN]
    for each in details:
        *outer, last = each["loc"] or ("[key]",)
        # An unknown key may be called as pydantic calls its own parts of a path.
        kept = [last] if each["type"] == "extra_forbidden" or last not in _NO_KEYS else []
        path = (*(part for part in outer if part not in _NO_KEYS), *kept)
        beside = [key[-1] for key in unknown if key[:-1] == path[:-1]]
        reported = each["input"] is UNREADABLE and each["type"] not in _UNKNOWN
        if not reported and not (each["type"] == "missing" and misspelled(path[-1], beside)):
            yield _explained(each, path, root, what)


def validated(
    findings: Findings, root: type[_Model], value: Any, what: str, at: KeyPath = ()
) -> _Model | None:
    """Return `value`, which is at a place of a file, as a model; None with findings where it is none."""
    try:
        return root.model_validate(value)
    except ValidationError as error:
        for found in explain(error, root, what):
            findings.add((*at, *found.path), found.message, found.tip, key=found.key)
        return None


def refusal(found: Iterable[Found], value: Any) -> ValidationError:
    """Return the error that a validator raises for several things that are wrong inside `value`."""
    details = [InitErrorDetails(type=_said(each), loc=each.path, input=value) for each in found]
    return ValidationError.from_exception_data("value", details)


def misspelled(key: Any, unknown: Collection[Any]) -> bool:
    """Return True if one of the `unknown` keys seems to be meant for `key`."""
    return any(near(str(word), [str(key)]) for word in unknown)


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by their keys in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def unknown_key(path: KeyPath, allowed: Iterable[str], what: str) -> Found:
    """Return what is wrong with the key at the end of `path`."""
    name, allowed = path[-1], sorted(allowed)
    tip = f"{near(str(name), allowed, most=1)} allowed: {', '.join(allowed)}".strip()
    return Found(path, f"unknown key {shown(str(name))} in {what}", tip, key=True)


def _said(found: Found) -> PydanticCustomError:
    return PydanticCustomError(_SAID, "{message}", {"message": found.message, "found": found})


def _explained(details: ErrorDetails, path: KeyPath, root: type[BaseModel], what: str) -> Found:
    kind, value = details["type"], details["input"]
    if kind == _SAID:
        found: Found = details["ctx"]["found"]
        message = f"'{_name(path, items=False)}'{found.message}" if found.named else found.message
        return Found(path, message, found.tip, found.key)
    if not path:
        return Found(path, f"{what} must be {rule_of(details)}, found {shown(value)}")
    if kind in _UNKNOWN:
        return unknown_key(path, _fields(root, path[:-1]), f"'{path[-2]}'" if len(path) > 1 else what)
    if kind == "missing" and isinstance(path[-1], str):
        where = f"'{path[-2]}' has" if len(path) > 1 else f"{what} {'have' if what.endswith('s') else 'has'}"
        return Found(path[:-1], f"{where} no '{path[-1]}'", _tip(root, path))
    if kind == "missing":
        return Found(path, f"'{_name(path, items=False)}' must have more numbers, found {shown(value)}")
    guess = ""
    if kind == "model_type":
        guess = f"allowed: {', '.join(_fields(root, path))}"
    elif kind == "literal_error":
        guess = near(str(value), re.findall("'([^']*)'", rule_of(details)), most=1)
    elif kind.startswith(("int_", "float_")) and isinstance(value, str):
        guess = number_tip(value)
    return Found(path, f"'{_name(path)}' must be {rule_of(details)}, found {shown(value)}", guess)


def _name(path: KeyPath, items: bool = True) -> str:
    """Return the last key of a path, with the places in lists that follow it."""
    last = next((index for index in reversed(range(len(path))) if isinstance(path[index], str)), 0)
    return str(path[last]) + "".join(f"[{part}]" for part in path[last + 1 :] if items)


def _fields(root: Any, path: KeyPath) -> dict[str, FieldInfo]:
    """Return the keys that the section at `path` takes."""
    for part in path:
        root = _member(root, part)
    return keys_of(root)


def _member(kind: Any, part: str | int) -> Any:
    """Return the type of what a section of type `kind` holds under `part`."""
    if typing.get_origin(kind) in (dict, list, tuple, Mapping, Sequence):
        found = typing.get_args(kind)[-1]
    else:
        found = keys_of(kind)[str(part)].annotation
    if isinstance(found, types.UnionType) or typing.get_origin(found) is typing.Union:
        found = next(each for each in typing.get_args(found) if each is not types.NoneType)
    return found


def _tip(root: type[BaseModel], path: KeyPath) -> str:
    metadata = _fields(root, path[:-1])[str(path[-1])].metadata
    return next((each.missing for each in metadata if isinstance(each, Tip)), "")


def number_tip(value: str) -> str:
    """Help with a number that YAML has read as text: one in quotes, or 1e-3 without a point."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return ""
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        return ""
    reason = f": YAML reads {value} as text" if "e" in value.lower() else " without quotes"
    return f"write {number:f}{reason}"
