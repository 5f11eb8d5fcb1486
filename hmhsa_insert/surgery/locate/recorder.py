"""The recorder: observes a forward pass and writes a node for every tensor, with its module call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.overrides import TorchFunctionMode

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.inputs import LeafPath, tensors_in
from hmhsa_insert.surgery.locate.known_shapes import run_on_shapes
from hmhsa_insert.torch_private import FakeTensor

# Functions that read the shape of their argument, not its values: no path of data runs through them.
_SHAPE_ONLY = {
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"),
}

# What runs for every call of a module: among frames, it separates the code of one module from that of the
# next.
_CALL = nn.Module._call_impl.__code__


@dataclass
class ModuleCall:
    """One call of one module during the trace.

    Attributes:
        index: position of this call in :attr:`Trace.calls`, in the order of entry.
        qualname: qualified name of the module; the root is ``""``.
        kind: the module's class.
        parent: index of the enclosing call, None for the root.
        first: position in the graph of the first node inside; ``last`` is one past the final node.
        inputs: nodes of the tensors that went in.
        arguments: for each of them its path in the arguments, which begins with a position or a name.
        lengths: number of items of each list or tuple among the arguments, by its position or name.
        outputs: ``(path, node)`` of each tensor that came out; the path is empty if the output is one tensor.
        autocast: device types for which autocast is on around the call.
    """

    index: int
    qualname: str
    kind: type[nn.Module]
    parent: int | None
    first: int
    last: int = -1
    inputs: tuple[Node, ...] = ()
    arguments: tuple[LeafPath, ...] = ()
    lengths: Mapping[int | str, int] = field(default_factory=dict)
    outputs: tuple[tuple[LeafPath, Node], ...] = ()
    autocast: frozenset[str] = frozenset()


class Recorder(TorchFunctionMode):
    """Writes a node for every tensor that a torch function makes, and the span of every module call.

    Args:
        model: the copy to run. It keeps the hooks that are added here, and wrappers around modules without
            hooks.
        original: the model that it is a copy of, whose weights must not be used.
    """

    def __init__(self, model: nn.Module, original: nn.Module) -> None:
        super().__init__()
        self.graph = Graph()
        self.calls: list[ModuleCall] = []
        self._stack: list[ModuleCall] = []
        self._node_of: dict[int, Node] = {}
        self._alive: list[Any] = []  # ids are only unique among living objects
        # Tensors by the identity of their storage: those that may share memory.
        self._sharing: dict[int, list[Tensor]] = {}
        self._count = 0
        self._parameters = {id(t): name for name, t in (*model.named_parameters(), *model.named_buffers())}
        # A closure or a global may still hold the original's tensors; a copy that reads them is not a copy.
        self._foreign = {id(t): name for name, t in (*original.named_parameters(), *original.named_buffers())}
        _wrap_scripted(model)
        self._watched = {id(module) for module in model.modules()}
        for name, module in model.named_modules():
            self._watch(name, module)

    def placeholders(self, inputs: Sequence[Tensor]) -> None:
        """Write a node for each input, before the run."""
        for index, tensor in enumerate(inputs):
            self._add("placeholder", f"input_{index}", (), tensor)

    def finish(self, output: Any) -> None:
        """Write the output node, after the run."""
        self.graph.output(tuple(self._lookup(tensor) for _, tensor in tensors_in(output)))
        self.graph.output_node().meta.update(position=self._count, call=None)
        self._alive.clear()
        self._sharing.clear()

    def position_of(self, tensor: Tensor) -> int:
        """Return the position of the node whose value `tensor` is now, or -1 if it is not known."""
        node = self._node_of.get(id(tensor))
        return node.meta["position"] if node is not None else -1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Without the modes that the forward runs under: passing them would take half the time. Before the
        # call, which may change its arguments in place.
        with torch._C.DisableTorchFunction():
            sources = [self._lookup(t) for _, t in tensors_in((args, kwargs))]
            values = tuple(_describe(arg) for arg in args)
            named = {name: _describe(value) for name, value in kwargs.items()}
        result = run_on_shapes(func, args, kwargs)
        made = [tensor for _, tensor in tensors_in(result)]
        if not made and getattr(func, "__name__", "") == "__setitem__":
            made = [args[0]]  # writes into its first argument and returns nothing
        if made and func is not torch.Tensor.__repr__:
            reads_values = getattr(func, "__name__", "") not in _SHAPE_ONLY
            with torch._C.DisableTorchFunction():
                node = self._add_function(func, sources if reads_values else [], made)
            node.meta.update(values=values, named=named)
        return result

    def _add_function(self, func: Any, sources: list[Node], made: list[Tensor]) -> Node:
        # An operator of an exported graph is named with its overload: conv2d.default.
        name = getattr(func, "__name__", type(func).__name__).partition(".")[0]
        if name == "__get__":  # a property such as x.T, which has its name on the descriptor
            name = getattr(getattr(func, "__self__", None), "__name__", "get")
        node = self._add("call_function", name, tuple(sources), made[0])
        for tensor in made[1:]:
            self._add("call_function", f"{name}_item", (node,), tensor)
        return node

    def _add(self, op: str, name: str, sources: tuple[Node, ...], tensor: Tensor) -> Node:
        inside = self._stack[-1].qualname if self._stack else ""
        target: Any = name if op != "call_function" else _marker
        label = f"{inside}.{name}" if inside and op == "call_function" else name
        node = self.graph.create_node(op, target, sources, name=label)
        node.meta.update(
            function=name,
            shape=tuple(tensor.shape),
            dtype=tensor.dtype,
            device=tensor.device,
            autocast=autocast_kinds(),
            call=self._stack[-1].index if self._stack else None,
            position=self._count,
            frames=_frames(self._watched) if op == "call_function" else (),
        )
        self._count += 1
        self._bind(tensor, node)
        return node

    def _bind(self, tensor: Tensor, node: Node) -> None:
        """Let later readers of `tensor` see `node`; after a write, also readers of overlapping tensors."""
        known = self._node_of.get(id(tensor))
        self._node_of[id(tensor)] = node
        self._alive.append(tensor)
        sharing = self._sharing.setdefault(tensor.untyped_storage()._cdata, [])
        if known is None:
            sharing.append(tensor)
        else:
            self._node_of.update({id(other): node for other in sharing if _overlap(tensor, other)})

    def _lookup(self, tensor: Tensor) -> Node:
        node = self._node_of.get(id(tensor))
        if node is not None:
            return node
        if id(tensor) in self._parameters:
            return self._add("get_attr", self._parameters[id(tensor)], (), tensor)
        if id(tensor) in self._foreign:
            raise _not_a_copy(self._foreign[id(tensor)])
        if not isinstance(tensor, FakeTensor) and type(tensor) is Tensor:
            return self._add("call_function", "constant", (), tensor)  # it existed before the run
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
            call.autocast = autocast_kinds()
            named = [*enumerate(args), *kwargs.items()]
            call.lengths = {key: len(value) for key, value in named if isinstance(value, list | tuple)}
            self.calls.append(call)
            self._stack.append(call)

        def leave(mod: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            outputs = tuple((path, self._lookup(t)) for path, t in tensors_in(output))
            call = self._stack.pop()
            call.last, call.outputs = self._count, outputs

        # Before all other pre-hooks and after all other hooks: what those compute belongs to the call.
        module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
        module.register_forward_hook(leave, with_kwargs=True)


class Scripted(nn.Module):
    """Runs a scripted module, which takes no hooks; nothing inside of it is recorded."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.__dict__["inner"] = inner  # no child: what it holds cannot be watched either

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of the scripted module, unrecorded: optimization changes its operations."""
        with torch._C.DisableTorchFunction():
            return self.__dict__["inner"](*args, **kwargs)


# Containers that run everything they hold, and scripted code.
_NO_HOSTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, Scripted)
_CHILDREN = {"children", "named_children", "_modules"}


def can_host(kind: type[nn.Module]) -> bool:
    """Return True if only our hook would run a new child of such a module, no loop over children."""
    return not issubclass(kind, _NO_HOSTS) and not goes_over_children(kind)


def goes_over_children(kind: type[nn.Module]) -> bool:
    """Return True if the forward of this class reads all children of the module."""
    forwards = (vars(cls).get("forward") for cls in kind.__mro__ if cls is not nn.Module)
    codes = (getattr(inspect.unwrap(forward), "__code__", None) for forward in forwards if callable(forward))
    return any(_CHILDREN & names_in(code) for code in codes if code)


def names_in(code: CodeType) -> set[str]:
    """Return the names that code uses, including those in comprehensions and inner functions."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(names_in, inner))


def _wrap_scripted(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if isinstance(child, torch.jit.ScriptModule) and not isinstance(module, torch.jit.ScriptModule):
                module._modules[name] = Scripted(child)


def _frames(watched: set[int]) -> tuple[tuple[CodeType, int], ...]:
    """Return the running code objects with their current instructions, innermost first.

    Calls of modules are kept only for `watched` ones, by id: a forward may create a module and call it.
    """
    frame = sys._getframe(2)
    found = []
    while frame is not None and frame.f_code is not run_watched.__code__:
        if frame.f_code is not _CALL or id(frame.f_locals["self"]) in watched:
            found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def run_watched(recorder: Recorder, model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a model under `recorder`; frames outside of this function are not recorded."""
    with recorder:
        return model(*args, **kwargs)


def _not_a_copy(name: str) -> ModelError:
    message = "a copy of the network uses this tensor of the original: a function set on it, or a global, refers to it"
    tip = "set the function from inside another function, whose variables can be copied, or on the class"
    return ModelError(Problem(name, message, tip))


def autocast_kinds() -> frozenset[str]:
    """Return the device types for which autocast is on."""
    return frozenset(kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.is_autocast_enabled(kind))


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return False for two parts of one tensor side by side, as from ``chunk``; True if in doubt."""
    if one.stride() != other.stride():
        return True
    first, second = sorted((one, other), key=lambda part: part.storage_offset())
    # Apart by whole steps along one axis, and by at least the length of the first part there: side by side.
    apart = second.storage_offset() - first.storage_offset()
    axes = zip(first.shape, first.stride(), strict=True)
    return not any(step and apart % step == 0 and apart // step >= length for length, step in axes)


def _marker(*_: Any) -> None:
    """Target of every recorded function: the graph is read, never run."""


def _describe(value: Any) -> Any:
    """Return the shape of an argument that is a tensor, else the argument itself."""
    return tuple(value.shape) if isinstance(value, Tensor) else value
