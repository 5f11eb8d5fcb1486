"""Trace: run a model once on fake tensors and record what happens as a ``torch.fx.Graph``.

Every torch function that makes a tensor becomes one node, with the shape of its value and the module call
that it ran in. The forward runs as plain Python on tensors that have shapes alone, so control flow, factory
functions and isinstance checks behave as in the real network; nothing is computed or allocated. The graph is
a record (which value is read by which operation, inside which module), not a program: edits are made in the
module tree or by :mod:`.rewrite`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn
from torch.fx import Graph, Node

from hmhsa_insert.errors import ModelError, Problem, first_line
from hmhsa_insert.files.collector import resting_collector
from hmhsa_insert.surgery.base.fake import fake_copy
from hmhsa_insert.surgery.base.given import image_tip
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import BATCH, Inputs, InputSize, input_dtype, tensors_in
from hmhsa_insert.surgery.base.side_effects import without_side_effects
from hmhsa_insert.surgery.base.wrapped import eagerly, refuse_lazy, refuse_wrapped
from hmhsa_insert.surgery.locate.recorder import ModuleCall, Recorder, run_watched
from hmhsa_insert.surgery.locate.stand_in import Answers, longest_way, with_stand_ins
from hmhsa_insert.torch_private import FakeTensorMode, unlogged


@dataclass
class Trace:
    """A recorded forward.

    Attributes:
        graph: nodes in order of execution; ``meta`` holds ``shape``, ``call`` (index of the innermost module call)
            and ``position``.
        calls: every module call, in order of entry.
        inputs: the inputs of the forward.
        nodes: those of the graph, as a list.
        answers: those that lead to this path, for a forward that reads values.
        passed_by: modules that run on other paths only.
        exits: answers that lead to other paths than this one.
    """

    graph: Graph
    calls: list[ModuleCall]
    inputs: Inputs
    nodes: list[Node] = field(default_factory=list)
    answers: Answers = (0,)
    passed_by: tuple[str, ...] = ()
    exits: tuple[Answers, ...] = ()

    @property
    def batch(self) -> int:
        """The length of the batch axis."""
        return self.inputs.batch or BATCH

    def calls_of(self, qualname: str) -> list[ModuleCall]:
        """Return the calls of one module, in order."""
        return self._calls_by_name.get(qualname, [])

    @cached_property
    def _calls_by_name(self) -> dict[str, list[ModuleCall]]:
        found: dict[str, list[ModuleCall]] = {}
        for call in self.calls:
            found.setdefault(call.qualname, []).append(call)
        return found


def trace(
    model: nn.Module,
    input_size: InputSize = (3, 224, 224),
    dtype: torch.dtype | None = None,
    answers: Answers | None = None,
) -> Trace:
    """Record one forward of `model` in eval mode; `model` itself is neither run nor changed.

    Args:
        model: any network.
        input_size: the inputs, see :meth:`Inputs.of`: ``(C, H, W)`` without the batch axis, several sizes,
            texts or example tensors.
        dtype: of the inputs; by default that of the first floating-point parameter.
        answers: those of another trace, to take its path if the forward reads values; by default the longest
            path.

    Raises:
        ModelError: the forward fails on this input, or the model is wrapped, lazy, or cannot be copied.
    """
    refuse_wrapped(model)
    refuse_lazy(model)
    inputs = Inputs.of(input_size)
    try:
        return _record(model, inputs, dtype, answers)
    except Exception as error:
        if inputs.has_examples and inputs.batch is None:  # of one sample each: the network may take no more
            with suppress(Exception):
                return _record(model, replace(inputs, batch=1), dtype, answers)
        if isinstance(error, ModelError):
            raise
        raise ModelError(_why_it_fails(model, inputs, error)) from error


def _why_it_fails(model: nn.Module, inputs: Inputs, error: Exception) -> Problem:
    reason = first_line(error)
    size_tip = "give the size it takes with `input_size=SIZE`; one batch only with `Inputs.of(size, batch=N)`"
    tip = image_tip(model, inputs) or size_tip
    if isinstance(error, TypeError) and "required positional argument" in reason:
        tip = "give all its inputs: `inputs=[(3, 224, 224), 'timestep:int64']`"
    elif "embedding" in str(error) or "indices" in reason:
        tip = 'say which inputs are integers: "timestep:int64<1000"'
    message = f"its forward failed on an input of {inputs}: {reason}"
    return Problem(type(model).__name__, message, tip)


def output_shapes(traced: Trace) -> list[Size]:
    """Return the shapes of all output tensors of a trace, the batch axis included."""
    sources = traced.graph.output_node().args[0]
    return [tuple(node.meta["shape"]) for node in sources]  # type: ignore[union-attr]


def _record(model: nn.Module, inputs: Inputs, dtype: torch.dtype | None, answers: Answers | None) -> Trace:
    """Trace without the user's own hooks; with them if the network does not run otherwise."""
    try:
        return _record_copy(model, inputs, dtype, answers, users_hooks=False)
    except ModelError:
        raise
    except Exception:
        if not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
            raise
        return _record_copy(model, inputs, dtype, answers, users_hooks=True)


def _record_copy(
    model: nn.Module, inputs: Inputs, dtype: torch.dtype | None, answers: Answers | None, users_hooks: bool
) -> Trace:
    # A tensor that is an ordinary attribute of a module stays real in the copy.
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def run() -> Recorder:
        copy = fake_copy(model, mode, users_hooks=users_hooks)
        return record(copy, model, inputs, dtype or input_dtype(model))

    with on_shapes(mode):
        if answers is not None:
            return as_trace(with_stand_ins(mode, run, answers), inputs, answers)
        best, others = longest_way(mode, run, lambda recorder: len(_names_called(recorder)))
    passed_by = set().union(*(_names_called(way.result) for way in others)) - _names_called(best.result)
    ways = {_went(way.result): way.answers for way in others}
    exits = [answers for went, answers in ways.items() if went != _went(best.result)]
    traced = as_trace(best.result, inputs, best.answers)
    return replace(traced, passed_by=tuple(sorted(passed_by)), exits=tuple(exits))


def record(
    copy: nn.Module,
    original: nn.Module,
    inputs: Inputs,
    dtype: torch.dtype,
    started: Callable[[Recorder], object] = lambda recorder: None,
) -> Recorder:
    """Run a fake copy of `original` under a recorder, inside its fake mode, and return the recorder.

    `started` is called with the recorder before the run.
    """
    device = next((p.device for p in copy.parameters()), torch.device("cpu"))
    recorder = Recorder(copy, original)
    started(recorder)
    args, kwargs = inputs.empty(dtype, device)
    recorder.placeholders([tensor for _, tensor in tensors_in((args, kwargs))])
    with without_side_effects(original):
        recorder.finish(run_watched(recorder, copy, args, kwargs))
    return recorder


def as_trace(recorder: Recorder, inputs: Inputs, answers: Answers = (0,)) -> Trace:
    """Return the trace that a recorder wrote."""
    return Trace(recorder.graph, recorder.calls, inputs, list(recorder.graph.nodes), answers)


def _went(recorder: Recorder) -> tuple[object, ...]:
    """Return the operations of a path; two runs that took the same path have the same ones."""
    return tuple((node.meta.get("function"), node.meta.get("call")) for node in recorder.graph.nodes)


def _names_called(recorder: Recorder) -> set[str]:
    return {call.qualname for call in recorder.calls}


@contextmanager
def on_shapes(mode: FakeTensorMode, gradients: bool = False) -> Iterator[None]:
    """Run networks on the fake tensors of `mode`, uncompiled and without torch's log of failures."""
    with unlogged(), resting_collector(), torch.set_grad_enabled(gradients), mode, eagerly():
        yield
