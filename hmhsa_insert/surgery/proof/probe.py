"""Probe: run a fake copy in which expressions report their values, to find the expression that makes a map.

One run covers all maps that need it. For an expression in a loop it also shows which evaluation makes the
map.
"""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from hmhsa_insert.surgery.base.fake import fake_copy
from hmhsa_insert.surgery.base.inputs import input_dtype
from hmhsa_insert.surgery.edit.wrapping import Outer, absolute, build_class, wraps_of
from hmhsa_insert.surgery.locate.recorder import Recorder
from hmhsa_insert.surgery.locate.stand_in import with_stand_ins
from hmhsa_insert.surgery.locate.trace import Trace, on_shapes, record
from hmhsa_insert.surgery.python.classes import set_class, user_class
from hmhsa_insert.surgery.python.source import Span, Wrapper
from hmhsa_insert.surgery.sites.expression import Candidate, Expression, Method, candidates, method_of
from hmhsa_insert.torch_private import FakeTensorMode


@dataclass(frozen=True)
class Reading:
    """One evaluation of an expression.

    Attributes:
        call: an object that identifies the call of the method.
        position: position of the node whose value it was; -1 for none.
        changed: the variables that hold the same tensor.
    """

    call: object
    position: int
    changed: tuple[str, ...]


@dataclass
class Expressions:
    """The expressions in the source of a traced network that make its maps, found on demand."""

    traced: Trace
    model: nn.Module
    _found: dict[Node, list[tuple[str, Expression]]] = field(default_factory=dict)

    def of(self, node: Node, others: Iterable[Node] = ()) -> list[tuple[str, Expression]]:
        """Return module and expression of all that make the map of `node` and nothing else, innermost first.

        Args:
            node: the map.
            others: maps that will be needed next; one run finds the expressions of all.
        """
        if node not in self._found:
            wanted = [n for n in dict.fromkeys((node, *others)) if n not in self._found]
            asked = {n: list(candidates(self.traced, self.model, n)) for n in wanted}
            self._found.update(_confirmed(self.traced, self.model, asked))
        return self._found[node]


def _confirmed(
    traced: Trace, model: nn.Module, asked: dict[Node, list[Candidate]]
) -> dict[Node, list[tuple[str, Expression]]]:
    probes = list(dict.fromkeys(candidate for found in asked.values() for candidate in found))
    by_probe = _readings(traced, model, probes)
    # One expression that cannot be probed fails the run for all: try the innermost of each map, then the
    # next.
    if not by_probe:
        for level in itertools.zip_longest(*asked.values()):
            by_probe |= _readings(traced, model, list(dict.fromkeys(filter(None, level))))
    return {
        node: [
            (candidate.qualname, expression)
            for candidate in found
            if (expression := _made(node, candidate, by_probe.get(candidate, []))) is not None
        ]
        for node, found in asked.items()
    }


def _made(node: Node, candidate: Candidate, readings: list[Reading]) -> Expression | None:
    """Return the expression with its turn, if it makes the map of `node` once in one call of its method."""
    turns = [turn for turn, reading in enumerate(readings) if reading.position == node.meta["position"]]
    if len(turns) != 1 or len({id(reading.call) for reading in readings}) != 1:
        return None
    target = ""
    if candidate.changed:
        same = readings[turns[0]].changed
        if not same:  # its value is thrown away and no variable holds it: wrapping it changes nothing
            return None
        target = same[0]
    if len(readings) == 1:
        return replace(candidate.expression, target=target)
    return replace(candidate.expression, target=target, turn=turns[0]) if candidate.repeatable else None


def _readings(traced: Trace, model: nn.Module, probes: list[Candidate]) -> dict[Candidate, list[Reading]]:
    """Run a fake copy with all probes; return the readings of each, or none if it does not run with them."""
    readings: list[list[Reading]] = [[] for _ in probes]
    watching: list[Recorder] = []
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def read(_self: nn.Module, number: int, call: object, value: Any, **changed: Any) -> Any:
        position = watching[-1].position_of(value) if isinstance(value, Tensor) else -1
        same = tuple(name for name, other in changed.items() if other is value)
        readings[number].append(Reading(call, position, same))
        return value

    def run() -> Recorder:
        for found in readings:  # stand-ins may run it more than once
            found.clear()
        copy = fake_copy(model, mode, users_hooks=False)
        _put_probes(copy, probes, read)
        return record(copy, model, traced.inputs, input_dtype(model), watching.append)

    try:
        with on_shapes(mode):
            with_stand_ins(mode, run, traced.answers)
    except Exception:  # the forward does not run with these probes; the caller tries others
        return {}
    return dict(zip(probes, readings, strict=True))


def _put_probes(copy: nn.Module, probes: list[Candidate], read: Any) -> None:
    by_host: dict[str, dict[Method, list[tuple[int, Candidate]]]] = defaultdict(lambda: defaultdict(list))
    for number, candidate in enumerate(probes):
        base = user_class(type(copy.get_submodule(candidate.qualname)))
        by_host[candidate.qualname][method_of(base, candidate.expression)].append((number, candidate))
    for name, groups in by_host.items():
        host = copy.get_submodule(name)
        outer = {method: _around(method, group) for method, group in groups.items()}
        set_class(host, build_class(user_class(type(host)), wraps_of(host), outer, {"hmhsa_probe": read}))


def _around(method: Method, group: list[tuple[int, Candidate]]) -> Outer:
    """Wrap every expression as ``self.hmhsa_probe(number, call, EXPR)``; each call has its own `call`."""
    wrappers: dict[Span, Wrapper] = {}
    for number, candidate in group:
        span = absolute(method, candidate.expression.span)
        probe = Wrapper(_probing(method.receiver, number, candidate.changed))
        wrappers[span] = wrappers[span].inside(probe) if span in wrappers else probe
    # An empty list: each call of the method makes a new object.
    return Outer(wrappers, [ast.Assign([ast.Name("hmhsa_call", ast.Store())], ast.List([], ast.Load()))])


def _probing(receiver: str, number: int, changed: tuple[str, ...]) -> Callable[[ast.expr], ast.expr]:
    def make(value: ast.expr) -> ast.expr:
        probe = ast.Attribute(ast.Name(receiver, ast.Load()), "hmhsa_probe", ast.Load())
        arguments: list[ast.expr] = [ast.Constant(number), ast.Name("hmhsa_call", ast.Load()), value]
        return ast.Call(probe, arguments, [ast.keyword(name, ast.Name(name, ast.Load())) for name in changed])

    return make
