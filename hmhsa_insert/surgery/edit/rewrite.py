"""Edit inside a forward without source code: if no module returns the map, ``torch.fx`` rewrites one module.

The module keeps its class (the edited one is a subclass), its children and its keys; only its forward is
replaced by generated code. Children are leaves of the trace, so their behavior in train and eval mode does
not change; the module's own forward is traced in both modes, and the one for the current mode is run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import fx, nn

from hmhsa_insert.errors import PlanError, Problem, first_line
from hmhsa_insert.surgery.locate.recorder import ModuleCall, Scripted
from hmhsa_insert.surgery.locate.trace import Trace

_REFLECTED = {"radd": "add", "rmul": "mul", "rsub": "sub"}


class _SequenceProxy(fx.Proxy):
    """A proxy for a list or tuple of known length, so that ``*size`` and ``len(size)`` can be traced."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, length: int) -> None:
        super().__init__(node, tracer)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[fx.Proxy]:
        return (self[index] for index in range(self._length))  # type: ignore[index]


class _ShallowTracer(fx.Tracer):
    """Traces the forward of one module: children are leaves, arguments of known length can be unpacked."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        super().__init__()
        self._lengths = lengths

    def proxy(self, node: fx.Node) -> fx.Proxy:
        if node.op == "placeholder" and node.target in self._lengths:
            return _SequenceProxy(node, self, self._lengths[str(node.target)])
        return super().proxy(node)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def rewrite_forward(
    host: nn.Module,
    name: str,
    child: nn.Module,
    operation: tuple[str, int],
    where: str,
    lengths: Mapping[str, int] | None = None,
) -> None:
    """Run `child` on the result of one operation in `host`'s own forward, by changing `host` in place.

    Args:
        host: the module.
        name: the name to register `child` under.
        child: what to call.
        operation: from :func:`own_operation`.
        where: qualified name for messages.
        lengths: from :func:`argument_lengths`.

    Raises:
        PlanError: the forward cannot be traced by itself, or the operation is not found in it.
    """
    was_training = host.training
    graphs: list[tuple[fx.Graph, fx.Node]] = []
    try:
        for mode in (True, False):
            host.training = mode  # the children are leaves: only the forward's own code reads it
            graphs.append(_find(host, operation, where, lengths or {}))
    finally:
        host.training = was_training
    host.add_module(name, child)  # after tracing: the forward may loop over all its children
    in_training, in_eval = (_forward_with(host, name, graph, node) for graph, node in graphs)

    @functools.wraps(in_eval)  # torch.fx reads the signature when another edit traces this forward again
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (in_training if self.training else in_eval)(self, *args, **kwargs)

    base = type(host)
    # A subclass, so that isinstance checks hold and undoing is taking the base class again.
    host.__class__ = type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})


def restore_forward(host: nn.Module) -> None:
    """Undo the last :func:`rewrite_forward` of `host`."""
    host.__class__ = type(host).__bases__[0]


def own_operation(traced: Trace, node: fx.Node) -> tuple[str, tuple[str, int]] | None:
    """Return the module whose own forward makes the value of `node`, and the operation that makes it.

    Returns:
        The module's qualified name, and the operation: a function's name, or ``self.`` and a child's name, with its
        occurrence (from 0) in that forward. None if every such module runs more than once.
    """
    index = node.meta["call"]
    call = traced.calls[index] if index is not None else traced.calls[0]
    before = traced.nodes[call.first : node.meta["position"]]
    own = [n for n in before if n.meta["call"] == call.index and n.op == "call_function"]
    name = same_name(node.meta["function"])
    occurrence = sum(same_name(n.meta["function"]) == name for n in own)
    # A module that runs twice, or is scripted, cannot be edited here: its call is an operation of its parent.
    while call.parent is not None and (
        len(traced.calls_of(call.qualname)) != 1 or issubclass(call.kind, Scripted)
    ):
        if not (len(call.outputs) == 1 and call.outputs[0] == ((), node)):
            return None
        parent = traced.calls[call.parent]
        siblings = [c for c in traced.calls[parent.index : call.index] if c.parent == parent.index]
        name = "self." + call.qualname[len(parent.qualname) + 1 if parent.qualname else 0 :]
        occurrence = sum(c.qualname == call.qualname for c in siblings)
        call = parent
    return call.qualname, (name, occurrence)


def argument_lengths(host: nn.Module, call: ModuleCall) -> dict[str, int]:
    """Return the length of each list or tuple among the arguments of `call`, by its name in the forward."""
    names = list(inspect.signature(host.forward).parameters)
    named = ((names[key] if isinstance(key, int) else key, length) for key, length in call.lengths.items())
    return dict(named)


def _find(
    host: nn.Module, operation: tuple[str, int], where: str, lengths: Mapping[str, int]
) -> tuple[fx.Graph, fx.Node]:
    """Trace the forward of `host` and find the operation in it."""
    function, occurrence = operation
    tip = "choose a module's output; see `hmhsa-insert stages MODEL --all-cut-points`"
    try:
        graph = _ShallowTracer(lengths).trace(host)
    except Exception as error:
        reason = first_line(error)
        message = f"the map is computed inside its forward, which torch.fx cannot trace: {reason}"
        raise PlanError(Problem(where, message, tip)) from error
    found = [node for node in graph.nodes if _own_name(node) == function]
    if occurrence >= len(found):
        message = f"its forward has no operation '{function}' number {occurrence + 1} that torch.fx can see"
        raise PlanError(Problem(where, message, tip))
    constants = [n.target for n in graph.nodes if n.op == "get_attr" and "constant" in str(n.target)]
    if constants:
        message = "its forward makes constant tensors of its own, which a rewritten forward would freeze"
        raise PlanError(Problem(where, message, tip))
    return graph, found[occurrence]


def _forward_with(host: nn.Module, name: str, graph: fx.Graph, node: fx.Node) -> Callable[..., Any]:
    with graph.inserting_after(node):
        call = graph.call_module(name, (node,))
    node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
    graph.lint()
    forward: Callable[..., Any] = type(fx.GraphModule(host, graph)).forward
    return forward


def same_name(function: str) -> str:
    """Return one name for all spellings of an operation, such as ``Tensor.__add__`` and ``operator.add``."""
    plain = function.strip("_")
    return _REFLECTED.get(plain, plain)


def _own_name(node: fx.Node) -> str | None:
    if node.op == "call_module":
        return f"self.{node.target}"
    if node.op == "call_function":
        return same_name(getattr(node.target, "__name__", str(node.target)))
    return same_name(str(node.target)) if node.op == "call_method" else None
