"""The words of the command line in errors: errors name arguments, and a command shows its options in their place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

from hmhsa_insert.errors import Argument


class _Option(NamedTuple):
    """What a command calls an argument, what stands for its value, and whether it is repeated for several values."""

    flag: str
    metavar: str
    multiple: bool


# Of the command that runs, by the names of arguments.
_OPTIONS: ContextVar[Mapping[str, _Option]] = ContextVar("options", default=MappingProxyType({}))
_MENTION = re.compile(r"`([^`]+)`")
# What Python says, and the argument of commands that says it.
_SAID = (
    (re.compile(r"([a-z_]+)=(.*)"), None),
    (re.compile(r"import (.+)"), "plugin"),
    (re.compile(r"Inputs\.of\(.*batch=(.+)\)"), "fixed_batch"),
)


@contextmanager
def naming_options(parameters: list[Any]) -> Iterator[None]:
    """Show the options of a command in its errors while the block runs; `parameters` are those of its context."""
    options = {
        each.name: _Option(max(each.opts, key=len), each.metavar or "", each.multiple)
        for each in parameters
        if each.param_type_name == "option"
    }
    before = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(before)


def place(where: str) -> str:
    """Return the place of a problem as the command line says it."""
    name, space, given = where.partition(" ")
    option = _OPTIONS.get().get(name) if isinstance(where, Argument) else None
    return f"{option.flag}{space}{given}" if option else str(where)


def in_options(text: str) -> str:
    """Return a text with options where it mentions arguments that the command has options for."""
    return _MENTION.sub(lambda found: _option(found[1]) or found[0], text)


def _option(code: str) -> str | None:
    """Return the option that says what `code` says in Python; None if it is no argument."""
    for form, argument in _SAID:
        if found := form.fullmatch(code):
            name, value = argument or found[1], found[found.lastindex or 0]
            break
    else:
        return None
    option = _OPTIONS.get().get(name)
    if option is None:  # of a study, for one, whose file says it
        return f"the setting {' '.join(_values(value))}" if name == "overrides" else code
    if not _is_literal(value):
        return f"{option.flag} {option.metavar}".strip()
    values = _values(value)
    if option.multiple:
        return " ".join(f"{option.flag} {each}" for each in values)
    return f"{option.flag} {','.join(values)}".strip()


def _is_literal(value: str) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    return True


def _values(value: str) -> list[str]:
    """Return a Python value as the words of the command line: none for True, "none" for nothing."""
    made = ast.literal_eval(value)
    if made is True:
        return []
    if isinstance(made, dict):
        made = [f"{old}={new}" for old, new in made.items()]
    several = list(made) or ["none"] if isinstance(made, list | tuple) else [made]
    return [f"'{each}'" if re.search(r"\s", str(each)) else str(each) for each in several]
