"""Compare on other paths through a forward: training, one image, early exits, compilation.

There a forward may read a map that it does not read in eval mode, or call a module that is not in the module
tree. So both the base network and an edited copy are recorded on each of these paths, and the two are
compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn
from torch.fx import Node

from hmhsa_insert.errors import first_line
from hmhsa_insert.surgery.base.fake import fake_copy
from hmhsa_insert.surgery.base.inputs import input_dtype
from hmhsa_insert.surgery.base.seeded import seeded
from hmhsa_insert.surgery.edit.splice import splice
from hmhsa_insert.surgery.locate.recorder import Recorder, names_in
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.locate.stand_in import Answers, with_stand_ins
from hmhsa_insert.surgery.locate.trace import Trace, as_trace, on_shapes, record
from hmhsa_insert.surgery.proof.wiring import Wiring, compare
from hmhsa_insert.surgery.sites.site import Plan, Site
from hmhsa_insert.torch_private import FakeTensorMode, pretend_compiling

_TRIES = 4  # in training: stochastic depth may skip a host in some of the runs
_TRIES_AT_RANDOM = 8  # if Python's or numpy's generator is used: each run may take another path
_MOST_EXITS = 4
# Names with which the code of a network asks whether it is compiled, and whether gradients are computed.
_COMPILER = {"is_compiling", "is_dynamo_compiling", "is_exporting"}
_GRADIENTS = {"is_grad_enabled", "requires_grad", "grad"}


@dataclass(frozen=True)
class Condition:
    """A condition under which a forward may take another path.

    Attributes:
        said: the condition, for messages.
        training: train mode, with gradients if the network's code asks for them.
        batch: the batch size, if it is another one.
        answers: to reads of values.
        compiling: torch reports that it is compiling.
        seed: for all generators.
    """

    said: str
    training: bool = False
    batch: int | None = None
    answers: Answers = (0,)
    compiling: bool = False
    seed: int = 0


class OtherPaths:
    """The base network on its other paths, each recorded when it is first needed.

    Args:
        model: the base network.
        located: its maps.
    """

    def __init__(self, model: nn.Module, located: Located) -> None:
        self._model, self._located = model, located
        self._base: dict[Condition, Trace | None] = {}
        self._draws = False  # True once the base network has used Python's or numpy's generator

    def compare(self, made: Plan) -> Wiring:
        """Return what is wrong with a plan on any of the other paths."""
        for condition in self._conditions():
            found, edited = self._compared(made, condition)
            # With the same answers the located path is taken, on which every block has to run.
            if not found.problems and edited is not None and condition.answers == self._located.trace.answers:
                idle = [i for i, s in enumerate(made.sites) if s.inserts and not edited.calls_of(s.key)]
                found = Wiring({i: f"'{made.sites[i].key}' does not run" for i in idle})
            if found.problems:
                return found.under(condition.said)
        return self._in_training(made)

    def _conditions(self) -> Iterator[Condition]:
        traced = self._located.trace
        if traced.inputs.batch is None and not self._located.one_image_alike:
            yield Condition("for a batch of one image", batch=1, answers=traced.answers)
        for answers in traced.exits[:_MOST_EXITS]:
            yield Condition("on another data-dependent path", answers=answers)
        if _asks(traced, _COMPILER):
            yield Condition("under torch.compile", compiling=True, answers=traced.answers)

    def _in_training(self, made: Plan) -> Wiring:
        """Compare in train mode, and check that every block runs in at least one of a few runs.

        A replaced module that is not called in eval mode has to be called here.
        """
        base = self._located.trace
        waiting = {i: s for i, s in enumerate(made.sites) if s.inserts or not base.calls_of(s.qualname)}
        for seed in range(_TRIES_AT_RANDOM):
            condition = Condition("in training mode", training=True, answers=base.answers, seed=seed)
            found, edited = self._compared(made, condition)
            if edited is None:  # such as BatchNorm on a single value; verification runs it on real inputs
                return Wiring()
            if found.problems:
                return found.under(condition.said)
            waiting = {i: s for i, s in waiting.items() if not edited.calls_of(s.key or s.qualname)}
            if not self._draws and (not waiting or seed == _TRIES - 1):
                break
        return Wiring({i: _why_waiting(site) for i, site in waiting.items()})

    def _compared(self, made: Plan, condition: Condition) -> tuple[Wiring, Trace | None]:
        """Return what is wrong and the edited network's trace; no trace if the base network does not run."""
        if condition not in self._base:  # several plans are compared with one base network
            try:
                self._base[condition] = self._recorded(condition, None)
            except Exception:
                self._base[condition] = None
        base = self._base[condition]
        if base is None:
            return Wiring(), None
        try:
            edited = self._recorded(condition, made)
        except Exception as error:
            reason = first_line(error)
            return Wiring(general=f"the edited network fails: {reason}"), base
        maps = {i: twins(self._located.trace, base, s) for i, s in enumerate(made.sites) if s.inserts}
        return compare(base, edited, made.sites, maps=maps), edited

    def _recorded(self, condition: Condition, made: Plan | None) -> Trace:
        model, mode = self._model, FakeTensorMode(allow_non_fake_inputs=True)
        inputs = self._located.trace.inputs
        if condition.batch is not None:
            inputs = replace(inputs, batch=condition.batch)

        def run() -> Recorder:
            copy = fake_copy(model, mode, users_hooks=False)
            if made is not None:
                splice(copy, made)
            with pretend_compiling(condition.compiling):
                return record(copy.train(condition.training), model, inputs, input_dtype(model))

        gradients = condition.training and _asks(self._located.trace, _GRADIENTS)
        with seeded(model, condition.seed), on_shapes(mode, gradients):
            before = _drawn()  # right after seeding: a change is a draw by the network
            traced = as_trace(with_stand_ins(mode, run, condition.answers), inputs, condition.answers)
            self._draws |= made is None and before != _drawn()
        return traced


def _drawn() -> tuple[object, object]:
    """Return the states of Python's and numpy's generators."""
    return random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]


def twins(located: Trace, other: Trace, site: Site) -> list[Node]:
    """Return the nodes in a trace of another path that may be the map of `site`; may be none.

    Args:
        located: the trace that the site was found in.
        other: a trace of another path of the same network.
        site: an insertion.
    """
    if site.action == "hook_output":
        return [
            node for call in other.calls_of(site.qualname) for path, node in call.outputs if path == site.path
        ]
    if site.action == "hook_input":
        pairs = (
            (call, dict(zip(call.arguments, call.inputs, strict=True)))
            for call in other.calls_of(site.qualname)
        )
        return [inputs[site.path] for _, inputs in pairs if site.path in inputs]
    node = next(node for node in located.nodes if node.name == site.node)
    wanted = _made_by(located, node)
    return [twin for twin in other.nodes if _made_by(other, twin) == wanted]


def _made_by(traced: Trace, node: Node) -> tuple[object, ...]:
    """Return what identifies a node on every path: function, code, children called since its last run."""
    index = node.meta["call"]
    place = _place(node)
    if index is None or not place:
        return (node.name,)
    before = [
        other.meta["position"]
        for other in traced.nodes
        if other.meta["call"] == index
        and other.meta["position"] < node.meta["position"]
        and _place(other) == place
    ]
    # In a loop one instruction makes many nodes: the children called in between show which pass it is.
    start = max(before, default=traced.calls[index].first - 1)
    between = [
        c.qualname for c in traced.calls if c.parent == index and start < c.first <= node.meta["position"]
    ]
    return (node.meta["function"], traced.calls[index].qualname, place, tuple(between))


def _place(node: Node) -> tuple[object, ...]:
    """Return the instructions that made a node, in the code of the innermost module."""
    place = []
    for code, instruction in node.meta.get("frames", ()):
        if code is nn.Module._call_impl.__code__:
            break
        place.append((code.co_name, code.co_firstlineno, instruction))
    return (node.meta["function"], *place) if place else ()


def _why_waiting(site: Site) -> str:
    return (
        f"'{site.key}' does not run in training mode" if site.inserts else "it is not called in the forward"
    )


def _asks(traced: Trace, names: set[str]) -> bool:
    """Return True if the network's own code (not torch's) uses any of `names`."""
    codes = {code for node in traced.nodes for code, _ in node.meta.get("frames", ())}
    torchs = str(Path(nn.__file__ or "").parents[1])
    return any(names & names_in(code) for code in codes if not code.co_filename.startswith(torchs))
