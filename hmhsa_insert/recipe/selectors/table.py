"""The kinds of selectors, and the reader of ``at`` that finds the one that is meant."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from hmhsa_insert.errors import listed
from hmhsa_insert.recipe.explain import Found, explain, keys_of, refusal, unknown_key
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.schema import OpName
from hmhsa_insert.recipe.selectors.base import Selector
from hmhsa_insert.recipe.selectors.modules import ClassSelector, ModuleSelector, NodeSelector
from hmhsa_insert.recipe.selectors.stages import (
    DownsampleSelector,
    NeckSelector,
    StageSelector,
    StrideSelector,
)

_EXAMPLE = "{stage: 3, block: last}"
_TIP = "`hmhsa-insert recipe schema` describes every key"
_ALL = (
    *(StageSelector, StrideSelector, NeckSelector, DownsampleSelector),
    *(ModuleSelector, ClassSelector, NodeSelector),
)

SELECTORS: dict[str, type[Selector]] = {each.kind: each for each in _ALL}


def kinds_of(op: OpName) -> tuple[str, ...]:
    """Return the kinds of selectors that an operation takes."""
    return tuple(kind for kind, selector in SELECTORS.items() if op in selector.ops)


def kinds_with(key: str) -> tuple[str, ...]:
    """Return the kinds of selectors that have a key."""
    return tuple(kind for kind, selector in SELECTORS.items() if key in keys_of(selector))


def region_kinds() -> tuple[str, ...]:
    """Return the kinds of selectors that mean regions."""
    return tuple(kind for kind, selector in SELECTORS.items() if selector.is_region)


def kind_in(value: Any) -> str | None:
    """Return the first key of an ``at`` that names a kind; None where there is none."""
    return next((key for key in value if key in SELECTORS), None) if isinstance(value, dict) else None


def read_selector(value: Any) -> Any:
    """Return the selector that an edit's ``at`` means.

    Raises:
        ValidationError: everything that is wrong with it.
    """
    if not isinstance(value, dict):
        message = f"'at' must be a mapping such as {_EXAMPLE}, found {shown(value)}"
        raise refusal([Found((), message, _TIP)], value)
    kind = kind_in(value)
    found = _wrong_keys(value, kind)
    selector = None
    if kind is not None:
        taken = {key: item for key, item in value.items() if key in keys_of(SELECTORS[kind])}
        try:
            selector = SELECTORS[kind].model_validate(taken)
        except ValidationError as error:
            found += explain(error, SELECTORS[kind], "'at'")
    if found:
        raise refusal(found, value)
    return selector


def _wrong_keys(value: dict[str, Any], kind: str | None) -> list[Found]:
    """Return what is wrong with the keys of an ``at``: unknown ones, a second kind, keys of other kinds."""
    allowed = {key for selector in SELECTORS.values() for key in keys_of(selector)}
    found = [unknown_key((key,), allowed, "'at'") for key in value if key not in allowed]
    if kind is None:
        message = f"'at' names no place: it needs {listed(list(SELECTORS))}"
        return found or [Found((), message, _TIP)]
    for key in value:
        if key not in allowed or key in keys_of(SELECTORS[kind]):
            continue
        message, tip = f"'{key}' does not go with '{kind}'", f"it goes with {listed(kinds_with(key))}"
        if key in SELECTORS:
            message = f"'at' names two kinds of place, '{kind}' and '{key}'"
            tip = "keep one, and write a second edit for the other"
        found.append(Found((key,), message, tip, key=True))
    return found
