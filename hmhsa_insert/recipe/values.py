"""Checks of single values: each returns what it read, or notes a problem; UNREADABLE is passed over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from hmhsa_insert.errors import listed, near
from hmhsa_insert.recipe.marks import UNREADABLE, Findings, KeyPath
from hmhsa_insert.recipe.scalars import shown

_Word = TypeVar("_Word", bound=str)


def mapping(
    findings: Findings, path: KeyPath, value: Any, allowed: Collection[str], what: str
) -> dict[str, Any]:
    """Return the allowed keys of `value`; every other key is a problem of `what`."""
    for key in value:
        if key not in allowed:
            guess = near(key, allowed, most=1)
            choices = "allowed: " + ", ".join(sorted(allowed))
            message = f"unknown key {shown(key)} in {what}"
            findings.add((*path, key), message, f"{guess} {choices}".strip(), key=True)
    return {key: item for key, item in value.items() if key in allowed}


def missing(value: Mapping[str, Any], required: Sequence[str], allowed: Collection[str]) -> list[str]:
    """Return the required keys that are absent, without those that an unknown key seems to misspell."""
    unknown = [key for key in value if key not in allowed]
    return [key for key in required if key not in value and not any(near(word, [key]) for word in unknown)]


def choice(findings: Findings, path: KeyPath, value: Any, choices: Sequence[_Word]) -> _Word | None:
    """Return `value` if it is one of `choices`."""
    for each in choices:
        if each == value:
            return each
    if value is UNREADABLE:
        return None
    tip = near(value, choices, most=1) if isinstance(value, str) else ""
    findings.add(path, f"{_name(path)} must be {listed(choices)}, found {shown(value)}", tip)
    return None


def whole(findings: Findings, path: KeyPath, value: Any, least: int) -> int | None:
    """Return `value` if it is a whole number of `least` or more."""
    if value is UNREADABLE or _is_whole(value, least, None):
        return None if value is UNREADABLE else int(value)
    message = f"{_name(path)} must be a whole number {_span(least, None)}, found {shown(value)}"
    findings.add(path, message)
    return None


def wholes(
    findings: Findings,
    path: KeyPath,
    value: Any,
    least: int | None,
    most: int | None = None,
    tip: Callable[[Any], str] = lambda value: "",
    also: str = "",
) -> tuple[int, ...]:
    """Return the whole numbers of `value`, one or a list of them; `also` names what else the key takes."""
    span = f"whole number{{}} {_span(least, most)}".rstrip()
    if not isinstance(value, list):
        if value is not UNREADABLE and not _is_whole(value, least, most):
            expected = f"a {span.format('')}, or a list of them{also}"
            findings.add(path, f"{_name(path)} must be {expected}, found {shown(value)}", tip(value))
            return ()
        return () if value is UNREADABLE else (value,)
    for index, item in enumerate(value):
        if item is not UNREADABLE and not _is_whole(item, least, most):
            message = f"{_name(path)} must list {span.format('s')}, found {shown(item)}"
            findings.add((*path, index), message, tip(item))
    _check_list(findings, path, value)
    return tuple(value) if findings.clean(path) else ()


def texts(
    findings: Findings, path: KeyPath, value: Any, what: str, problem: Callable[[str], str]
) -> tuple[str, ...]:
    """Return the strings of `value`, one or a list of them; `problem` says what is wrong with one."""
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        place = (*path, index) if isinstance(value, list) else path
        if item is UNREADABLE:
            continue
        if not isinstance(item, str) or not item:
            findings.add(place, f"{_name(path)} must be {what}, or a list of them, found {shown(item)}")
        elif reason := problem(item):
            findings.add(place, f"{_name(path)}: {shown(item)} is not {what}: {reason}")
    if isinstance(value, list):
        _check_list(findings, path, value)
    return tuple(items) if findings.clean(path) and UNREADABLE not in items else ()


def _check_list(findings: Findings, path: KeyPath, items: list[Any]) -> None:
    if not items:
        findings.add(path, f"{_name(path)} lists nothing")
    for index, item in enumerate(items):
        if isinstance(item, (int, str)) and item in items[:index]:
            findings.add((*path, index), f"{_name(path)} lists {shown(item)} twice")


def _is_whole(value: Any, least: int | None, most: int | None) -> bool:
    # A bool is an int to Python, not to a reader.
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return (least is None or value >= least) and (most is None or value <= most)


def _span(least: int | None, most: int | None) -> str:
    if least is None:
        return ""
    return f"of {least} or more" if most is None else f"from {least} to {most}"


def _name(path: KeyPath) -> str:
    return next(f"'{part}'" for part in reversed(path) if isinstance(part, str))
