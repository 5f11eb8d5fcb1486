"""Every key of training settings with its meaning and default, from the schemas."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hmhsa_insert.recipe.canonical import dump_plain
from hmhsa_insert.training.run_schema import RunSettings, Section


class SettingsKey(NamedTuple):
    """One key.

    Attributes:
        key: with its section, as ``overrides`` takes it: ``optimizer.lr``.
        default: as YAML; "required" where there is none.
        meaning: in a sentence.
    """

    key: str
    default: str
    meaning: str


def settings_keys(kind: type[RunSettings]) -> list[SettingsKey]:
    """Return every key of a task's settings, those of sections after the section's name."""
    return list(_keys(kind, ""))


def _keys(kind: type[BaseModel], before: str) -> Iterator[SettingsKey]:
    for name, field in kind.model_fields.items():
        section = _section(field)
        if section is None:
            yield SettingsKey(before + name, _default(field), field.description or "")
        else:
            yield from _keys(section, f"{before}{name}.")


def _section(field: FieldInfo) -> type[Section] | None:
    """Return the class of a section; None for a plain key."""
    kinds = (
        get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
    )
    return next((each for each in kinds if isinstance(each, type) and issubclass(each, Section)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        return f"[{', '.join(_plain(each) for each in value)}]"
    return _plain(value)


def _plain(value: Any) -> str:
    """Return a value as YAML; of numbers, four digits."""
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    return dump_plain({"value": value}).removeprefix("value: ").rstrip("\n")
