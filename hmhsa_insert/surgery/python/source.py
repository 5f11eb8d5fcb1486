"""Compile a method again from its own source, with some of its expressions wrapped.

The running code is trusted, not the file: a source that does not compile to exactly the running code (it
changed on disk, a test runner rewrote it, there is none) is refused. Line numbers, globals, defaults and
closure are those of the original, so that tracebacks, debuggers, dynamo and pickling see the user's own
method.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import linecache
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

Span = tuple[int, int, int, int]  # line, column, last line, last column, as ast and co_positions count them


class SourceError(Exception):
    """A method cannot be compiled again; the message continues "its forward …"."""


@dataclass(frozen=True)
class Wrapper:
    """What replaces an expression.

    Attributes:
        make: returns the new expression for the old one.
        target: the variable to assign the new value to, for a statement such as ``self.act(x)`` that discards
            it.
    """

    make: Callable[[ast.expr], ast.expr]
    target: str = ""

    def inside(self, outer: Wrapper) -> Wrapper:
        """Return one wrapper that applies this one, then `outer`."""
        return Wrapper(lambda value: outer.make(self.make(value)), self.target)


@dataclass(frozen=True)
class FunctionSource:
    """A function's definition in its file.

    Attributes:
        definition: its syntax tree, with the line numbers of the file.
        digest: digest of its text.
    """

    definition: ast.FunctionDef | ast.Lambda
    digest: str

    def expression(self, span: Span) -> ast.expr | ast.AugAssign | None:
        """Return the expression (or augmented assignment) at exactly `span`; None if there is none.

        From Python 3.12, the interpreter lets a method call over several lines begin at the name of the
        method.
        """
        ends: list[ast.expr | ast.AugAssign] = []
        for node in ast.walk(self.definition):
            if isinstance(node, ast.expr | ast.AugAssign):
                if span_of(node) == span:
                    return node
                if isinstance(node, ast.Call) and span_of(node)[2:] == span[2:]:
                    ends.append(node)
        return ends[0] if ends else None


def span_of(node: ast.expr | ast.stmt) -> Span:
    """Return the span of a node."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def span_at(code: types.CodeType, instruction: int) -> Span | None:
    """Return the span of the expression that the instruction at byte `instruction` of `code` evaluates."""
    positions = list(code.co_positions())
    # An instruction has two bytes; co_positions has one entry for each instruction.
    line, end, column, end_column = positions[instruction // 2]
    if line is None or end is None or column is None or end_column is None:
        return None
    return line, column, end, end_column


@functools.lru_cache(maxsize=512)
def source_of(code: types.CodeType) -> FunctionSource:
    """Return the definition that `code` was compiled from.

    Raises:
        SourceError: there is no source, or it does not compile to the running code.
    """
    lines = linecache.getlines(code.co_filename)
    if not lines:
        raise SourceError("has no source code to edit")
    try:
        tree, codes = _file("".join(lines), code.co_filename)
    except (SyntaxError, ValueError) as error:
        raise SourceError(f"has source code that cannot be read: {error}") from error
    definition, alike = _definition(tree, code), codes.get(_key(code), ())
    # Two lambdas on one line have the same name and line number.
    if code.co_name == "<lambda>" and len(alike) > 1:
        raise SourceError("is one of two lambdas on one line")
    if definition is None or not any(_same_code(found, code) for found in alike):
        raise SourceError(
            f"is not the code in {code.co_filename} that runs: the file was changed or rewritten"
        )
    text = "".join(lines[code.co_firstlineno - 1 : definition.end_lineno])
    return FunctionSource(definition, hashlib.sha256(text.encode()).hexdigest()[:16])


def compiled(
    function: types.FunctionType, wrappers: Mapping[Span, Wrapper], prologue: list[ast.Assign]
) -> types.FunctionType:
    """Return `function` with expressions of its source wrapped.

    Args:
        function: the running method.
        wrappers: by the span of the expression in the file. An augmented assignment (``x += y``) is followed
            by ``x = wrapped(x)``.
        prologue: assignments to run first.

    Raises:
        SourceError: the source does not compile to the running code, or does not compile with the edit.
    """
    code = function.__code__
    source_of(code)
    # The whole file, not the function alone: closures and private names then compile as they do there.
    tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    definition = _definition(tree, code)
    assert definition is not None
    _Wrap(wrappers).visit(definition)
    if isinstance(definition, ast.FunctionDef):  # after the docstring, or it would be none
        first = int(ast.get_docstring(definition, clean=False) is not None)
        definition.body[first:first] = [_place(statement, definition.body[0]) for statement in prologue]
    elif prologue:  # a lambda has no statements: (counter := -1, EXPR)[-1]
        set_first = [ast.NamedExpr(cast(ast.Name, each.targets[0]), each.value) for each in prologue]
        whole = ast.Tuple([*set_first, definition.body], ast.Load())
        definition.body = _place(ast.Subscript(whole, ast.Constant(-1), ast.Load()), definition.body)
    try:
        made = compile(ast.fix_missing_locations(tree), code.co_filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise SourceError(f"cannot be compiled with the edit: {error.msg}") from error
    return with_code(function, next(found for found in codes_in(made) if _key(found) == _key(code)))


def codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield `code` and the code of functions, classes and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_in(constant)


def with_code(function: types.FunctionType, code: types.CodeType) -> types.FunctionType:
    """Return a function like `function` that runs `code`, whose free variables are in its closure."""
    # By name: compiled with the edit, the same variables may be in another order.
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    return like(
        function,
        types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure),
    )


def like(function: types.FunctionType, twin: types.FunctionType) -> types.FunctionType:
    """Give `twin` the name, defaults, annotations and attributes of `function`."""
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__doc__, twin.__module__, twin.__qualname__ = (
        function.__doc__,
        function.__module__,
        function.__qualname__,
    )
    # From Python 3.14 annotations are made by a function, as they may not be evaluable yet.
    annotations = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
    setattr(twin, annotations, getattr(function, annotations))
    twin.__dict__.update(function.__dict__)
    return twin


@functools.lru_cache(maxsize=64)
def _file(text: str, name: str) -> tuple[ast.Module, dict[tuple[str, int], list[types.CodeType]]]:
    """Return the syntax tree of a file, and its code objects by qualified name and first line."""
    tree = ast.parse(text)
    codes: dict[tuple[str, int], list[types.CodeType]] = {}
    for code in codes_in(compile(tree, name, "exec", dont_inherit=True)):
        codes.setdefault(_key(code), []).append(code)
    return tree, codes


def _key(code: types.CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _definition(tree: ast.Module, code: types.CodeType) -> ast.FunctionDef | ast.Lambda | None:
    if code.co_name == "<lambda>":
        found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
        return next((node for node in found if span_of(node.body)[:2] == _start(code)), None)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name != code.co_name:
            continue
        # The first line of a function's code is that of its first decorator.
        if code.co_firstlineno == min([node.lineno, *(d.lineno for d in node.decorator_list)]):
            return node
    return None


def _start(code: types.CodeType) -> tuple[int, int]:
    """Return line and column of the first expression that `code` evaluates."""
    places = ((line, column) for line, _, column, end in code.co_positions() if line and column and end)
    return min(places, default=(0, 0))


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    names = (
        "co_code",
        "co_names",
        "co_varnames",
        "co_freevars",
        "co_cellvars",
        "co_argcount",
        "co_kwonlyargcount",
    )
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    if list(one.co_positions()) != list(other.co_positions()) or len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _same_code(a, b)
        if isinstance(a, types.CodeType) and isinstance(b, types.CodeType)
        else _same_constant(a, b)
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


def _same_constant(one: Any, other: Any) -> bool:
    # By type and repr: 1 == True == 1.0, and NaN is not equal to itself.
    return type(one) is type(other) and repr(one) == repr(other)


class _Wrap(ast.NodeTransformer):
    """Replaces each expression that has a wrapper with the wrapped one."""

    def __init__(self, wrappers: Mapping[Span, Wrapper]) -> None:
        self._wrappers = dict(wrappers)

    def visit(self, node: ast.AST) -> Any:
        # Inner expressions first: an outer one may be wrapped too.
        made = self.generic_visit(node)
        if isinstance(node, ast.Expr) and span_of(node.value) in self._wrappers:
            value = self._wrapped(node.value, made.value)
            target = self._wrappers[span_of(node.value)].target
            statement = ast.Assign([ast.Name(target, ast.Store())], value) if target else ast.Expr(value)
            return _place(statement, node)
        if isinstance(node, ast.AugAssign) and span_of(node) in self._wrappers:
            loaded = copy.deepcopy(node.target)
            loaded.ctx = ast.Load()
            return [made, _place(ast.Assign([node.target], self._wrapped(node, loaded)), node)]
        return made

    def generic_visit(self, node: ast.AST) -> Any:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                new: list[Any] = []
                for item in value:
                    made = self._field(node, item)
                    new.extend(made) if isinstance(made, list) else new.append(made)
                value[:] = new
            elif isinstance(value, ast.AST):
                setattr(node, name, self._field(node, value))
        return node

    def _field(self, parent: ast.AST, value: Any) -> Any:
        if not isinstance(value, ast.AST):
            return value
        made = self.visit(value)
        if not isinstance(value, ast.expr) or isinstance(parent, ast.Expr):
            return made
        # A target of an assignment is not a value.
        if not isinstance(getattr(value, "ctx", ast.Load()), ast.Load):
            return made
        return self._wrapped(value, made) if span_of(value) in self._wrappers else made

    def _wrapped(self, node: ast.expr | ast.AugAssign, made: ast.expr) -> ast.expr:
        new: ast.expr = _place(self._wrappers[span_of(node)].make(made), node)
        return new


def _place(node: Any, like: ast.AST) -> Any:
    """Give `node` and its parts without a location the location of `like`."""
    for part in ast.walk(node):
        if not hasattr(part, "lineno"):
            ast.copy_location(part, like)
    return node
