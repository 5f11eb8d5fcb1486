"""Trace: run a model once on fake tensors and write down what happened as a ``torch.fx.Graph``.

Every torch function that makes a tensor becomes one node, with the shape of its value and the module call it ran
in. The forward runs as plain Python on tensors that carry shapes, so control flow, factory functions and isinstance
checks behave as they do in the real network; nothing is computed and nothing is allocated. The graph is a map (who
feeds whom, inside which module), not a program: edits are made in the module tree or by :mod:`.rewrite`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node
from torch.nn.parameter import is_lazy

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.fake import fake_copy
from hmhsa_insert.surgery.inputs import InputSize, Size, input_dtype, make_inputs, size_text
from hmhsa_insert.surgery.recorder import ModuleCall, Recorder
from hmhsa_insert.surgery.stand_in import with_stand_ins

BATCH = 2  # one image would hide the batch axis from code that squeezes


@dataclass
class Trace:
    """A recorded forward.

    Attributes:
        graph: nodes in order of execution; ``meta`` holds ``shape``, ``call`` (index of the innermost module call)
            and ``position``.
        calls: every module call, in order of entry.
        input_size: what went in, without the batch axis.
    """

    graph: Graph
    calls: list[ModuleCall]
    input_size: InputSize
    nodes: list[Node] = field(default_factory=list)

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
        input_size: size of the input without the batch axis, ``(C, H, W)``; a sequence of sizes for several
            positional inputs; a mapping for keyword inputs.
        dtype: of the inputs; default the dtype of the first floating-point parameter.

    Raises:
        ModelError: the forward fails on this input.
    """
    refuse_wrapped(model)
    refuse_lazy(model)
    try:
        return _record(model, input_size, dtype)
    except Exception as error:
        where = type(model).__name__
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, ModelError):
            raise
        message = f"its forward failed on an input of {size_text(input_size)}: {reason}"
        tip = "give the size it takes with --input-size"
        if isinstance(error, TypeError) and "required positional argument" in reason:
            tip = "give the sizes of all its inputs: hi.apply(model, recipe, input_size=[(3, 224, 224), ...])"
        raise ModelError(Problem(where, message, tip)) from error


def output_shapes(traced: Trace) -> list[Size]:
    """Return the shapes of all output tensors of a trace, the batch axis included."""
    sources = traced.graph.output_node().args[0]
    return [tuple(node.meta["shape"]) for node in sources]  # type: ignore[union-attr]


def refuse_lazy(model: nn.Module) -> None:
    """Raise ModelError for a model whose lazy parameters have no shape yet."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    lazy = next((name for name, tensor in tensors if is_lazy(tensor)), None)
    if lazy is not None:
        message = "it gets its shape in the first forward, which has not run"
        raise ModelError(Problem(lazy, message, "run the network once on an input"))


def refuse_wrapped(model: nn.Module) -> None:
    """Raise ModelError for wrappers that hide the module tree: DDP, FSDP, compiled and scripted models."""
    wrappers: tuple[tuple[str, str], ...] = (
        ("DistributedDataParallel", "apply the recipe to the inner model (`.module`) and wrap the result"),
        ("FullyShardedDataParallel", "apply the recipe before sharding"),
        ("DataParallel", "apply the recipe to the inner model (`.module`) and wrap the result"),
        ("OptimizedModule", "apply the recipe to the original model and compile the result"),
    )
    for cls in type(model).__mro__:
        for name, advice in wrappers:
            if cls.__name__ == name and cls.__module__.startswith("torch."):
                raise ModelError(Problem(name, "this is a wrapper, not a network that can be edited", advice))
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(Problem("ScriptModule", "a scripted model cannot be edited", "use the Python model"))


def _record(model: nn.Module, input_size: InputSize, dtype: torch.dtype | None) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dtype = dtype or input_dtype(model)

    def run() -> Recorder:
        copy = fake_copy(model, mode)
        device = next((p.device for p in copy.parameters()), torch.device("cpu"))
        recorder = Recorder(copy)
        args, kwargs = make_inputs(
            input_size, BATCH, lambda size: torch.empty(size, dtype=dtype, device=device)
        )
        recorder.placeholders([*args, *kwargs.values()])
        with recorder:
            output = copy(*args, **kwargs)
        recorder.finish(output)
        return recorder

    with torch.no_grad(), _quiet(), mode:
        recorder = with_stand_ins(mode, run)
    return Trace(recorder.graph, recorder.calls, input_size, list(recorder.graph.nodes))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging the traceback of a forward that fails: the error says it, or another size is tried."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
