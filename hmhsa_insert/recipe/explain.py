"""What pydantic finds wrong with a file, in plain words: training settings and studies say it alike."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hmhsa_insert.errors import listed, near
from hmhsa_insert.recipe.marks import KeyPath
from hmhsa_insert.recipe.scalars import shown


def explain(found: ErrorDetails, root: type[BaseModel], what: str) -> tuple[str, str]:
    """Return the message and the tip for one of pydantic's errors.

    Args:
        found: the error.
        root: the model that was validated.
        what: it describes, such as ``the settings``.
    """
    path: KeyPath = tuple(found["loc"])
    name = next((part for part in reversed(path) if isinstance(part, str)), "it")
    if found["type"] == "extra_forbidden":
        allowed = sorted(_fields(root, path[:-1]))
        where = f"'{path[-2]}'" if len(path) > 1 else what
        tip = f"{near(str(name), allowed, most=1)} allowed: {', '.join(allowed)}".strip()
        return f"unknown key {shown(name)} in {where}", tip
    if found["type"] == "missing" and isinstance(path[-1], str):
        where = f"'{path[-2]}' has" if len(path) > 1 else f"{what} {'have' if what.endswith('s') else 'has'}"
        return f"{where} no '{name}'", ""
    value = shown(found["input"])
    if found["type"] == "missing":
        return f"'{name}' must have more numbers, found {value}", ""
    if found["type"] == "model_type":
        return f"'{name}' must be a mapping, found {value}", f"allowed: {', '.join(_fields(root, path))}"
    if found["type"] == "literal_error":
        choices = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        guess = near(str(found["input"]), choices, most=1)
        return f"'{name}' must be {listed(choices)}, found {value}", guess
    rule = found["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"'{name}' must be {rule}, found {value}", ""


def _fields(root: type[BaseModel], path: KeyPath) -> list[str]:
    """Return the keys that the section at `path` takes."""
    kind: Any = root
    for part in path:
        kind = _member(kind, part)
    return list(kind.model_fields)


def _member(kind: Any, part: str | int) -> Any:
    """Return the type of what a section of type `kind` holds under `part`."""
    if typing.get_origin(kind) in (dict, list, tuple, Mapping, Sequence):
        found = typing.get_args(kind)[-1]
    else:
        found = kind.model_fields[str(part)].annotation
    if isinstance(found, types.UnionType) or typing.get_origin(found) is typing.Union:
        found = next(each for each in typing.get_args(found) if each is not types.NoneType)
    return found
