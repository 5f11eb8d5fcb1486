"""What a command runs in: its shared options that no command reads itself, and the report of its errors."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hmhsa_insert.commands.shared import renamed, shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.files.whole import check_place

_CONTEXT = "context_"


@dataclass(frozen=True)
class Surrounding:
    """An option of many commands that needs nothing of them.

    Attributes:
        name: of its parameter.
        annotation: of its parameter, as typer takes it.
        default: where it is not given.
        enter: returns what the command runs in, from the option's value and all values of the command; a command
            that has a parameter of this name is given the value, too.
    """

    name: str
    annotation: Any
    default: Any
    enter: Callable[[Any, dict[str, Any]], AbstractContextManager[None]]


@contextmanager
def _quiet(quiet: bool, values: dict[str, Any]) -> Iterator[None]:
    from hmhsa_insert.commands.console import notes, progress

    notes.quiet = progress.quiet = quiet
    notes.stderr = bool(values.get("json"))
    yield


@contextmanager
def _plugins(names: Sequence[str] | None, values: dict[str, Any]) -> Iterator[None]:
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names or []:
        try:
            importlib.import_module(name)
        except Exception as error:
            message = f"module '{name}' cannot be imported: {error}"
            tip = "modules of the current folder and installed ones can be named, as package.module"
            raise HmhsaInsertError(Problem(Argument("plugin"), message, tip)) from error
    yield


# What the parameters of commands that write one file are called.
_FILES = ("output", "draw", "confusion")


@contextmanager
def _replacing(overwrite: bool, values: dict[str, Any]) -> Iterator[None]:
    for name in _FILES:
        if values.get(name) is not None:
            check_place(values[name], overwrite, HmhsaInsertError)
    yield


@contextmanager
def _base(factory: str | None, values: dict[str, Any]) -> Iterator[None]:
    if factory is None:
        yield
        return
    from hmhsa_insert.commands.folders import check_base
    from hmhsa_insert.surgery.base.given_base import given_base

    named = next(values[key] for key in ("model", "models", "folder", "sources") if key in values)
    check_base(factory, [str(each) for each in (named if isinstance(named, list) else [named])])
    with given_base(factory):
        yield


@contextmanager
def _unpickling(allowed: bool, values: dict[str, Any]) -> Iterator[None]:
    if not allowed:
        yield
        return
    from hmhsa_insert.surgery.base.sources.pickles import unpickling

    with unpickling(True):
        yield


QUIET = Surrounding("quiet", Annotated[bool, shared("--quiet")], False, _quiet)
PLUGIN = Surrounding("plugin", Annotated[list[str] | None, shared("--plugin")], None, _plugins)
BASE = Surrounding("base", Annotated[str | None, shared("--base")], None, _base)
OVERWRITE = Surrounding("overwrite", Annotated[bool, shared("--overwrite")], False, _replacing)
UNSAFE_PICKLE = Surrounding("unsafe_pickle", Annotated[bool, shared("--unsafe-pickle")], False, _unpickling)


def surrounded(function: Callable[..., None], *around: Surrounding) -> Callable[..., None]:
    """Return a command that has more options, runs in what they ask for, and reports its errors without a traceback."""
    signature = inspect.signature(function, eval_str=True)
    own = signature.parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [each.replace(kind=keyword) for each in own.values()]

    @wraps(function)
    def command(**given: Any) -> None:
        from hmhsa_insert.commands.console import report_error
        from hmhsa_insert.commands.naming import naming_options

        with naming_options(given.pop(_CONTEXT).command.params), ExitStack() as stack:
            try:
                for each in around:
                    value = given[each.name] if each.name in own else given.pop(each.name)
                    stack.enter_context(each.enter(value, given))
                function(**given)
            except HmhsaInsertError as error:
                report_error(error)
            except OSError as error:
                if error.errno is None or isinstance(error, BrokenPipeError):
                    raise
                # A full disk, a folder that was removed or may not be read: not an error of this program.
                reason = error.strerror or str(error)
                report_error(HmhsaInsertError(Problem(str(error.filename or ""), reason)))
            else:
                return
            sys.exit(1)

    parameters += [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=each.annotation)
        for each in around
        if each.name not in own
    ]
    parameters.append(inspect.Parameter(_CONTEXT, keyword, annotation=typer.Context))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return command


class Command(TyperCommand):
    """A command that takes the old spellings of its options, too, and says the new ones."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what is left of the arguments."""
        from hmhsa_insert.commands.console import err

        found, said = renamed(str(ctx.info_name), args)
        for line in said:
            err.print(line, soft_wrap=True)
        return super().parse_args(ctx, found)
