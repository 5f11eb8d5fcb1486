"""Trace: run a model once on fake tensors and write down what happened as a ``torch.fx.Graph``.

Every torch function that makes a tensor becomes one node, with the shape of its value and the module call it ran
in. The forward runs as plain Python on tensors that carry shapes, so control flow, factory functions and isinstance
checks behave as they do in the real network; nothing is computed and nothing is allocated. The graph is a map (who
feeds whom, inside which module), not a program: edits are made in the module tree or by :mod:`.rewrite`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node
from torch.overrides import TorchFunctionMode

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.fake import fake_copy

Size: TypeAlias = tuple[int, ...]
InputSize: TypeAlias = Size | Sequence[Size] | Mapping[str, Size]
Path: TypeAlias = tuple[int | str, ...]

# Functions that read the shape of their argument and not its values: no path runs through them.
_SHAPE_ONLY = {
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"),
}

BATCH = 2  # one image would hide the batch axis from code that squeezes


@dataclass
class ModuleCall:
    """One call of one module during the trace.

    Attributes:
        index: position of this call in :attr:`Trace.calls`, in the order of entry.
        qualname: qualified name of the module; the root is ``""``.
        kind: the module's class.
        parent: index of the enclosing call, None for the root.
        first: position in the graph of the first node inside; ``last`` is one past the final node.
        inputs: nodes of the tensors that went in; ``arguments`` says where each stood (position or name first).
        lengths: number of items of each list or tuple among the arguments, by its position or name.
        outputs: ``(path, node)`` of each tensor that came out; the path is empty when the output is one tensor.
    """

    index: int
    qualname: str
    kind: type[nn.Module]
    parent: int | None
    first: int
    last: int = -1
    inputs: tuple[Node, ...] = ()
    arguments: tuple[Path, ...] = ()
    lengths: Mapping[int | str, int] = field(default_factory=dict)
    outputs: tuple[tuple[Path, Node], ...] = ()


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
    try:
        return _record(model, input_size, dtype)
    except Exception as error:
        where = type(model).__name__
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"its forward failed on an input of {size_text(input_size)}: {reason}"
        raise ModelError(Problem(where, message, "give the size it takes with --input-size")) from error


def output_shapes(traced: Trace) -> list[Size]:
    """Return the shapes of all output tensors of a trace, the batch axis included."""
    sources = traced.graph.output_node().args[0]
    return [tuple(node.meta["shape"]) for node in sources]  # type: ignore[union-attr]


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


def make_inputs(
    input_size: InputSize, batch: int, make: Callable[[Size], Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Build positional and keyword inputs of `input_size` with `make`, which gets sizes with the batch axis."""
    if isinstance(input_size, Mapping):
        return [], {name: make((batch, *size)) for name, size in input_size.items()}
    return [make((batch, *size)) for size in sizes_of(input_size)], {}


def sizes_of(input_size: InputSize) -> list[Size]:
    """Return the sizes in `input_size` as a list, whatever its form."""
    if isinstance(input_size, Mapping):
        return [tuple(size) for size in input_size.values()]
    if all(isinstance(item, int) for item in input_size):
        return [tuple(input_size)]  # type: ignore[arg-type]
    return [tuple(size) for size in input_size]  # type: ignore[arg-type]


def size_text(input_size: InputSize) -> str:
    """Return ``3×224×224``, joined by commas when there are several inputs."""
    return ", ".join("×".join(map(str, size)) for size in sizes_of(input_size))


def input_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point parameter, float32 without one."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.float32)


def tensors_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield ``(path, tensor)`` for every tensor in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item_field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, item_field.name), (*path, item_field.name))


def _record(model: nn.Module, input_size: InputSize, dtype: torch.dtype | None) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dtype = dtype or input_dtype(model)
    with torch.no_grad(), _quiet(), mode:
        copy = fake_copy(model, mode)
        device = next((p.device for p in copy.parameters()), torch.device("cpu"))
        recorder = _Recorder(copy)
        args, kwargs = make_inputs(
            input_size, BATCH, lambda size: torch.empty(size, dtype=dtype, device=device)
        )
        recorder.placeholders([*args, *kwargs.values()])
        with recorder:
            output = copy(*args, **kwargs)
        recorder.finish(output)
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


class _Recorder(TorchFunctionMode):
    """Writes a node for every tensor that a torch function makes, and the span of every module call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.graph = Graph()
        self.calls: list[ModuleCall] = []
        self._stack: list[ModuleCall] = []
        self._node_of: dict[int, Node] = {}
        self._alive: list[Any] = []  # ids are only unique among living objects
        self._count = 0
        self._parameters = {id(t): name for name, t in (*model.named_parameters(), *model.named_buffers())}
        for name, module in model.named_modules():
            self._watch(name, module)

    def placeholders(self, inputs: Sequence[Tensor]) -> None:
        for index, tensor in enumerate(inputs):
            self._add("placeholder", f"input_{index}", (), tensor)

    def finish(self, output: Any) -> None:
        self.graph.output(tuple(self._lookup(tensor) for _, tensor in tensors_in(output)))
        self.graph.output_node().meta.update(position=self._count, call=None)
        self._alive.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        sources = [self._lookup(t) for _, t in tensors_in((args, kwargs))]
        values = tuple(_describe(arg) for arg in args)
        result = func(*args, **kwargs)
        made = [tensor for _, tensor in tensors_in(result)]
        if not made and getattr(func, "__name__", "") == "__setitem__":
            made = [args[0]]  # writes into its first argument and returns nothing
        if made and func is not torch.Tensor.__repr__:
            reads_values = getattr(func, "__name__", "") not in _SHAPE_ONLY
            self._add_function(func, sources if reads_values else [], values, made)
        return result

    def _add_function(
        self, func: Any, sources: list[Node], values: tuple[Any, ...], made: list[Tensor]
    ) -> None:
        name = getattr(func, "__name__", type(func).__name__)
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "get")
        node = self._add("call_function", name, tuple(sources), made[0])
        node.meta["values"] = values
        for tensor in made[1:]:
            self._add("call_function", f"{name}_item", (node,), tensor)

    def _add(self, op: str, name: str, sources: tuple[Node, ...], tensor: Tensor) -> Node:
        inside = self._stack[-1].qualname if self._stack else ""
        target: Any = name if op != "call_function" else _marker
        label = f"{inside}.{name}" if inside and op == "call_function" else name
        node = self.graph.create_node(op, target, sources, name=label)
        node.meta.update(
            function=name,
            shape=tuple(tensor.shape),
            call=self._stack[-1].index if self._stack else None,
            position=self._count,
        )
        self._count += 1
        self._bind(tensor, node)
        return node

    def _bind(self, tensor: Tensor, node: Node) -> None:
        """Let later readers of `tensor`, and of the tensor it is a view of, see `node`."""
        known = self._node_of.get(id(tensor))
        self._node_of[id(tensor)] = node
        self._alive.append(tensor)
        base = tensor._base
        if known is not None and base is not None and id(base) in self._node_of:
            self._node_of[id(base)] = node  # an in-place write through a view

    def _lookup(self, tensor: Tensor) -> Node:
        node = self._node_of.get(id(tensor))
        if node is not None:
            return node
        if id(tensor) in self._parameters:
            return self._add("get_attr", self._parameters[id(tensor)], (), tensor)
        # Made where no torch function was seen (a custom autograd function, a scripted one): it may come from
        # anything that entered the innermost module.
        known = self._stack[-1].inputs if self._stack else ()
        return self._add("call_function", "opaque", tuple(known), tensor)

    def _watch(self, name: str, module: nn.Module) -> None:
        def enter(mod: nn.Module, args: Any, kwargs: Any) -> None:
            given = [*tensors_in(tuple(args)), *tensors_in(kwargs)]
            inputs = tuple(self._lookup(tensor) for _, tensor in given)
            parent = self._stack[-1].index if self._stack else None
            call = ModuleCall(len(self.calls), name, type(mod), parent, self._count, inputs=inputs)
            call.arguments = tuple(path for path, _ in given)
            named = [*enumerate(args), *kwargs.items()]
            call.lengths = {key: len(value) for key, value in named if isinstance(value, list | tuple)}
            self.calls.append(call)
            self._stack.append(call)

        def leave(mod: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            outputs = tuple((path, self._lookup(t)) for path, t in tensors_in(output))
            call = self._stack.pop()
            call.last, call.outputs = self._count, outputs

        module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
        module.register_forward_hook(leave, with_kwargs=True)


def _marker(*_: Any) -> None:
    """Stands as the target of every recorded function: the graph is read, never run."""


def _describe(value: Any) -> Any:
    """Return what later readers need of an argument: a tensor's shape, else the value itself."""
    return tuple(value.shape) if isinstance(value, Tensor) else value
