"""Trace: run a model once on fake tensors and write down what happened as a ``torch.fx.Graph``.

Every torch function that makes a tensor becomes one node, with the shape of its value and the module call it ran
in. The forward runs as plain Python on tensors that carry shapes, so control flow, factory functions and isinstance
checks behave as they do in the real network; nothing is computed and nothing is allocated. The graph is a map (who
feeds whom, inside which module), not a program: edits are made in the module tree or by :mod:`.rewrite`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.fake import fake_copy
from hmhsa_insert.surgery.input import Size
from hmhsa_insert.surgery.inputs import BATCH, Inputs, InputSize, input_dtype, tensors_in
from hmhsa_insert.surgery.recorder import ModuleCall, Recorder
from hmhsa_insert.surgery.stand_in import with_stand_ins
from hmhsa_insert.surgery.wrapped import eagerly, refuse_lazy, refuse_wrapped


@dataclass
class Trace:
    """A recorded forward.

    Attributes:
        graph: nodes in order of execution; ``meta`` holds ``shape``, ``call`` (index of the innermost module call)
            and ``position``.
        calls: every module call, in order of entry.
        inputs: what went in.
    """

    graph: Graph
    calls: list[ModuleCall]
    inputs: Inputs
    nodes: list[Node] = field(default_factory=list)

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


def trace(model: nn.Module, input_size: InputSize = (3, 224, 224), dtype: torch.dtype | None = None) -> Trace:
    """Record one forward of `model` in eval mode; `model` itself is neither run nor changed.

    Args:
        model: any network.
        input_size: what goes in, see :meth:`Inputs.of`: ``(C, H, W)``, without the batch axis; several sizes; texts;
            example tensors.
        dtype: of the inputs; default the dtype of the first floating-point parameter.

    Raises:
        ModelError: the forward fails on this input.
    """
    refuse_wrapped(model)
    refuse_lazy(model)
    inputs = Inputs.of(input_size)
    try:
        return _record(model, inputs, dtype)
    except Exception as error:
        if inputs.has_examples and inputs.batch is None:  # of one sample each: it may take no more
            with suppress(Exception):
                return _record(model, replace(inputs, batch=1), dtype)
        if isinstance(error, ModelError):
            raise
        raise ModelError(_why_it_fails(model, inputs, error)) from error


def _why_it_fails(model: nn.Module, inputs: Inputs, error: Exception) -> Problem:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    tip = "give the size it takes with --input-size; one batch only with --fixed-batch, or Inputs.of(size, batch=8)"
    if isinstance(error, TypeError) and "required positional argument" in reason:
        tip = 'give all its inputs: hi.apply(model, recipe, inputs=[(3, 224, 224), "timestep:int64"]), or --input'
    elif "embedding" in str(error) or "indices" in reason:
        tip = 'say which inputs are integers: "timestep:int64<1000"'
    message = f"its forward failed on an input of {inputs}: {reason}"
    return Problem(type(model).__name__, message, tip)


def output_shapes(traced: Trace) -> list[Size]:
    """Return the shapes of all output tensors of a trace, the batch axis included."""
    sources = traced.graph.output_node().args[0]
    return [tuple(node.meta["shape"]) for node in sources]  # type: ignore[union-attr]


def _record(model: nn.Module, inputs: Inputs, dtype: torch.dtype | None) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dtype = dtype or input_dtype(model)

    def run() -> Recorder:
        copy = fake_copy(model, mode)
        device = next((p.device for p in copy.parameters()), torch.device("cpu"))
        recorder = Recorder(copy)
        args, kwargs = inputs.empty(dtype, device)
        recorder.placeholders([tensor for _, tensor in tensors_in((args, kwargs))])
        with recorder:
            output = copy(*args, **kwargs)
        recorder.finish(output)
        return recorder

    with torch.no_grad(), _quiet(), mode, eagerly():
        recorder = with_stand_ins(mode, run)
    return Trace(recorder.graph, recorder.calls, inputs, list(recorder.graph.nodes))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging the traceback of a forward that fails: the error says it, or another size is tried."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
