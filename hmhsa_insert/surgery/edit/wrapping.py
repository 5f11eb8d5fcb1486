"""Run a child on the value of one expression in a method of a module, with everything else in it unchanged.

``EXPR`` becomes ``self.child(EXPR)``. The module gets a subclass of its class in which that one method is
compiled again. Its children, keys and attributes stay, and deep copies, pickling, compilation, export and
debugging work on the user's own Python.
"""

from __future__ import annotations

import ast
import functools
import inspect
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from hmhsa_insert.errors import PlanError, Problem
from hmhsa_insert.surgery.python.classes import new_class, our_class, set_class, user_class
from hmhsa_insert.surgery.python.closures import replaced
from hmhsa_insert.surgery.python.source import SourceError, Span, Wrapper, codes_in, compiled
from hmhsa_insert.surgery.sites.expression import Expression, Method, method_of


@dataclass(frozen=True)
class Wrap:
    """A child and the expression that it runs on."""

    child: str
    expression: Expression


def wrap(host: nn.Module, name: str, child: nn.Module, expression: Expression, where: str) -> None:
    """Run `child`, registered as `name`, on the value of an expression of `host`; changes `host` in place.

    Args:
        host: the module.
        name: of the child.
        child: what to call.
        expression: from :func:`~hmhsa_insert.surgery.sites.expression.candidates`.
        where: qualified name for messages.

    Raises:
        PlanError: the class's source is not the one that the expression was found in.
    """
    _set_wraps(host, (*wraps_of(host), Wrap(name, expression)), where)
    host._modules[name] = child  # not by add_module: a class with __getattr__ may have every name


def unwrap(host: nn.Module, name: str) -> nn.Module:
    """Undo :func:`wrap` and return the child that is there now."""
    child = host._modules.pop(name)
    assert child is not None
    _set_wraps(host, tuple(w for w in wraps_of(host) if w.child != name), name)
    return child


def wraps_of(host: nn.Module) -> tuple[Wrap, ...]:
    """Return what is wrapped in the methods of `host`, oldest first."""
    ours = our_class(type(host))
    wraps: tuple[Wrap, ...] = vars(ours)["hmhsa_wraps"] if ours else ()
    return wraps


def _set_wraps(host: nn.Module, wraps: tuple[Wrap, ...], where: str) -> None:
    base = user_class(type(host))
    try:
        set_class(host, edited_class(base, wraps) if wraps else base)
    except SourceError as error:
        tip = "apply the recipe again, with the versions of the libraries that are installed"
        raise PlanError(Problem(where, f"its forward {error}", tip)) from error


@dataclass(frozen=True)
class Outer:
    """What else goes around expressions of one method, and assignments at its beginning."""

    wrappers: dict[Span, Wrapper]
    prologue: list[ast.Assign]


# Cached, so that copies of a host share its class.
@functools.lru_cache(maxsize=1024)
def edited_class(base: type, wraps: tuple[Wrap, ...]) -> type:
    """Return a subclass of `base` whose methods run children on the values of expressions.

    Raises:
        SourceError: the source of a method has changed.
    """
    return build_class(base, wraps, {}, {})


def build_class(
    base: type, wraps: tuple[Wrap, ...], outer: dict[Method, Outer], attributes: dict[str, Any]
) -> type:
    """Make the class of :func:`edited_class`, with more around expressions and more attributes."""
    by_method: dict[Method, list[Wrap]] = {method: [] for method in outer}
    for each in wraps:
        by_method.setdefault(method_of(base, each.expression), []).append(each)
    edits = {method: _edited(method, group, outer.get(method)) for method, group in by_method.items()}
    hiding = _hiding(base, {w.child for w in wraps}) if wraps else {}
    return _subclass(base, edits, {"hmhsa_wraps": wraps, **hiding, **attributes})


def _subclass(base: type, edits: dict[Method, types.FunctionType], attributes: dict[str, Any]) -> type:
    """Return a subclass of `base` with other functions in some of its methods, own or inherited."""
    own: dict[str, Any] = {}
    inherited: dict[type, dict[str, Any]] = defaultdict(dict)
    originals = {}
    for (owner, name), pairs in _by_attribute(edits).items():
        attribute = vars(owner)[name]
        is_own = inspect.getattr_static(base, name) is attribute
        for function, new in pairs:
            originals.update(dict.fromkeys(codes_in(new.__code__), function.__code__))
            attribute = replaced(attribute, function, new)
        # An overridden method is reached by super(), so its replacement goes between the subclass and its
        # owner.
        (own if is_own else inherited[owner])[name] = attribute
    mixins = (new_class(o.__name__, (o,), inherited[o]) for o in base.__mro__ if o in inherited)
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    marks = {"hmhsa_base": base, "hmhsa_originals": originals, "__reduce_ex__": _reduce}
    return new_class(base.__name__, (base, *mixins), {**names, **marks, **attributes, **own})


def _by_attribute(
    edits: dict[Method, types.FunctionType],
) -> dict[tuple[type, str], list[tuple[types.FunctionType, types.FunctionType]]]:
    grouped: dict[tuple[type, str], list[tuple[types.FunctionType, types.FunctionType]]] = defaultdict(list)
    for method, new in edits.items():
        grouped[method.owner, method.name].append((method.function, new))
    return grouped


def _edited(method: Method, wraps: list[Wrap], outer: Outer | None) -> types.FunctionType:
    """Return the function of a method, compiled with its wraps."""
    by_span: dict[Span, list[Wrap]] = defaultdict(list)
    for each in wraps:
        by_span[absolute(method, each.expression.span)].append(each)
    prologue = list(outer.prologue) if outer else []
    wrappers = dict(outer.wrappers) if outer else {}
    for number, (span, group) in enumerate(by_span.items()):
        counter = f"hmhsa_turn_{number}"
        if any(w.expression.turn is not None for w in group):
            # Counts evaluations in one call; the first test of each evaluation adds one, so it begins at -1.
            prologue.append(ast.Assign([ast.Name(counter, ast.Store())], ast.Constant(-1)))
        inner = Wrapper(_calls(method.receiver, group, counter), group[0].expression.target)
        wrappers[span] = inner.inside(wrappers[span]) if span in wrappers else inner
    return compiled(method.function, wrappers, prologue)


def absolute(method: Method, span: Span) -> Span:
    """Return the span in the file of a span in the method."""
    first = method.function.__code__.co_firstlineno
    return span[0] + first, span[1], span[2] + first, span[3]


def _calls(receiver: str, wraps: list[Wrap], counter: str) -> Callable[[ast.expr], ast.expr]:
    """Return a function that makes ``self.child(EXPR)``, or ``… if (turn := turn + 1) == 2 else EXPR``."""

    def make(value: ast.expr) -> ast.expr:
        turns = sorted({w.expression.turn for w in wraps if w.expression.turn is not None})
        if not turns:
            return _chain(receiver, wraps, value)
        made = value
        for turn in reversed(turns):
            here = [w for w in wraps if w.expression.turn == turn]
            now: ast.expr = ast.Name(counter, ast.Load())
            if turn == turns[0]:  # evaluated first, so this one counts
                one_more = ast.BinOp(ast.Name(counter, ast.Load()), ast.Add(), ast.Constant(1))
                now = ast.NamedExpr(ast.Name(counter, ast.Store()), one_more)
            test = ast.Compare(now, [ast.Eq()], [ast.Constant(turn)])
            made = ast.IfExp(test, _chain(receiver, here, value), made)
        return made

    return make


def _chain(receiver: str, wraps: list[Wrap], value: ast.expr) -> ast.expr:
    for each in wraps:
        child = ast.Attribute(ast.Name(receiver, ast.Load()), each.child, ast.Load())
        value = ast.Call(child, [value], [])
    return value


def _hiding(base: type, children: set[str]) -> dict[str, Any]:
    """Return methods that hide the children from a container whose forward iterates over itself."""
    if issubclass(base, nn.ModuleDict):

        def shown(self: nn.Module) -> dict[str, Any]:
            return {name: module for name, module in self._modules.items() if name not in children}

        return {
            "__iter__": lambda self: iter(shown(self)),
            "__len__": lambda self: len(shown(self)),
            "keys": lambda self: shown(self).keys(),
            "items": lambda self: shown(self).items(),
            "values": lambda self: shown(self).values(),
        }
    if issubclass(base, nn.Sequential | nn.ModuleList):

        def listed(self: nn.Module) -> list[tuple[str, Any]]:
            return [(name, module) for name, module in self._modules.items() if name not in children]

        def item(self: nn.Module, index: int | slice) -> Any:
            if isinstance(index, slice):  # a container of the user's class, without our children
                return base(OrderedDict(listed(self)[index]))
            return listed(self)[index][1]

        return {
            "__iter__": lambda self: iter([module for _, module in listed(self)]),
            "__len__": lambda self: len(listed(self)),
            "__getitem__": item,
        }
    return {}


def _reduce(self: nn.Module, protocol: Any) -> Any:
    """Copy and pickle as the user's class does, and wrap again."""
    # The subclass is made at run time, so pickle cannot find it by name: it is built again from the wraps.
    kind: Any = our_class(type(self))
    make, arguments, *rest = super(kind, self).__reduce_ex__(protocol)
    arguments = tuple(user_class(kind) if argument is kind else argument for argument in arguments)
    return (_rebuilt, (make, arguments, wraps_of(self)), *rest)


def _rebuilt(
    make: Callable[..., nn.Module], arguments: tuple[Any, ...], wraps: tuple[Wrap, ...]
) -> nn.Module:
    module = make(*arguments)
    _set_wraps(module, wraps, type(module).__name__)
    return module
