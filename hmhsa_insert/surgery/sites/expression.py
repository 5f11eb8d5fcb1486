"""The expression in a forward that makes a feature map: its method, and its span in the source.

The trace has the running frames for every node. The innermost one that runs a method of the host, and its
current instruction, give the exact span of the expression.
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.locate.recorder import ModuleCall, Scripted, goes_over_children
from hmhsa_insert.surgery.locate.trace import Trace
from hmhsa_insert.surgery.python.classes import our_class, user_class
from hmhsa_insert.surgery.python.closures import functions_in
from hmhsa_insert.surgery.python.source import (
    FunctionSource,
    SourceError,
    Span,
    codes_in,
    source_of,
    span_at,
    span_of,
)

_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


@dataclass(frozen=True)
class Expression:
    """An expression in the source of a method.

    Attributes:
        owner: ``module:Class``, the class among the host's bases that defines the method.
        method: the name of the method.
        span: first line and column, last line and column; lines are counted from the first line of the
            method.
        text: the expression, for readers.
        digest: of the source of the method, which another release may have changed.
        target: the variable to assign the new value to, if the expression is a statement that changes it in
            place.
        turn: the evaluation (from 0) within one call of the method that makes the map; None if there is only
            one.
    """

    owner: str
    method: str
    span: Span
    text: str
    digest: str
    target: str = ""
    turn: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Expression:
        """Read what ``dataclasses.asdict`` made of one.

        Raises:
            TypeError: `data` is not an expression.
        """
        line, column, end, end_column = (int(number) for number in data["span"])
        return cls(**{**data, "span": (line, column, end, end_column)})


@dataclass(frozen=True)
class Method:
    """A method of a class, as it is run.

    Attributes:
        owner: the class that defines it.
        name: its name.
        function: the function that does the work, inside its decorators.
    """

    owner: type
    name: str
    function: types.FunctionType

    @property
    def receiver(self) -> str:
        """Name of the first parameter, usually ``self``."""
        return self.function.__code__.co_varnames[0]


@dataclass(frozen=True)
class Candidate:
    """An expression that may make a map, in the forward of a module that runs once.

    Attributes:
        qualname: the module.
        expression: the expression; its turn is not known yet.
        changed: for a statement such as ``self.act(x)``: the variables that it may change in place.
        repeatable: True if its evaluations can be counted.
    """

    qualname: str
    expression: Expression
    changed: tuple[str, ...]
    repeatable: bool


def candidates(traced: Trace, model: nn.Module, node: Node) -> Iterator[Candidate]:
    """Yield the expressions that were being evaluated while the value of `node` was made, innermost first."""
    index = node.meta["call"]
    for code, instruction in node.meta["frames"]:
        if code is nn.Module._call_impl.__code__:
            if index is None:  # a forward called directly, not through the module call
                return
            index = traced.calls[index].parent
            continue
        call = traced.calls[index] if index is not None else traced.calls[0]
        if len(traced.calls_of(call.qualname)) == 1 and _can_be_edited(call):
            found = _candidate(call, model.get_submodule(call.qualname), code, instruction)
            if found is not None:
                yield found


def _can_be_edited(call: ModuleCall) -> bool:
    return not issubclass(call.kind, Scripted) and not goes_over_children(call.kind)


def _candidate(call: ModuleCall, host: nn.Module, code: types.CodeType, instruction: int) -> Candidate | None:
    method = methods(user_class(type(host))).get(original_code(type(host), code))
    span = span_at(code, instruction)
    if method is None or span is None or not {"forward", method.name}.isdisjoint(vars(host)):
        return None  # a method set on the instance replaces that of the class
    try:
        source = source_of(method.function.__code__)
    except SourceError:
        return None
    node = source.expression(span)
    if isinstance(node, ast.AugAssign) and any(isinstance(part, ast.Call) for part in ast.walk(node.target)):
        return None  # reading the target again for the block would repeat the calls in it
    if node is None or method.receiver in _assigned(source) or method.receiver in code.co_varnames[1:]:
        return None
    first = method.function.__code__.co_firstlineno
    line, column, end, end_column = span_of(node)
    expression = Expression(
        owner=f"{method.owner.__module__}:{method.owner.__qualname__}",
        method=method.name,
        span=(line - first, column, end - first, end_column),
        text=" ".join(ast.unparse(node).split()),
        digest=source.digest,
    )
    return Candidate(call.qualname, expression, _changed(source, node, method), _is_countable(method, code))


def _changed(source: FunctionSource, node: ast.AST, method: Method) -> tuple[str, ...]:
    """Return the variables in an expression that is a statement; none if its value is used."""
    if not any(isinstance(n, ast.Expr) and n.value is node for n in ast.walk(source.definition)):
        return ()
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return tuple(name for name in method.function.__code__.co_varnames[1:] if name in names)


def _is_countable(method: Method, code: types.CodeType) -> bool:
    """Return True if `code` can assign to a variable of the method; a nested lambda cannot."""
    return code.co_name in (*_COMPREHENSIONS, method.function.__code__.co_name)


def _assigned(source: FunctionSource) -> set[str]:
    names = (
        n for n in ast.walk(source.definition) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    )
    return {name.id for name in names}


@functools.lru_cache(maxsize=1024)
def methods(kind: type) -> dict[types.CodeType, Method]:
    """Return the methods of `kind` by every code object in them, including comprehensions."""
    found: dict[types.CodeType, Method] = {}
    for owner in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        if owner.__module__.startswith("torch."):
            continue  # torch's own layers and containers are not edited
        for name, attribute in vars(owner).items():
            for function in functions_in(attribute):
                if function.__code__.co_argcount:
                    for code in codes_in(function.__code__):
                        found.setdefault(code, Method(owner, name, function))
    return found


def method_of(kind: type, expression: Expression) -> Method:
    """Return the method of class `kind` that an expression belongs to.

    Raises:
        SourceError: there is none, or its source has changed.
    """
    for owner in kind.__mro__:
        if f"{owner.__module__}:{owner.__qualname__}" == expression.owner:
            for function in functions_in(vars(owner).get(expression.method)):
                if function.__code__.co_argcount and source_of(function.__code__).digest == expression.digest:
                    return Method(owner, expression.method, function)
            raise SourceError(f"has another '{expression.method}' than the one the edit was planned for")
    raise SourceError(f"is not that of {expression.owner}, which the edit was planned for")


def original_code(kind: type, code: types.CodeType) -> types.CodeType:
    """Return the code of the user's method that `code` (with wrapped expressions) was compiled from."""
    ours = our_class(kind)
    originals: Mapping[types.CodeType, types.CodeType] = vars(ours)["hmhsa_originals"] if ours else {}
    return originals.get(code, code)
