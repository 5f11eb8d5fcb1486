"""Spots: the ways to put a block at a map, the most robust first.

If a module returns the map, a hook changes no forward. If a forward does not use what that module returns, or
no module returns the map, the expression that makes it is wrapped. If a single module reads the map, the
block can run on its input. The rehearsal finds out which way works.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from types import CodeType

from torch import fx, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _NormBase

from hmhsa_insert.surgery.edit.rewrite import argument_lengths, own_operation
from hmhsa_insert.surgery.locate.recorder import ModuleCall, names_in
from hmhsa_insert.surgery.locate.stages import Located, hosts_of
from hmhsa_insert.surgery.proof.probe import Expressions
from hmhsa_insert.surgery.python.source import SourceError, source_of
from hmhsa_insert.surgery.sites.region import reader
from hmhsa_insert.surgery.sites.spot import Spot


def spots(
    located: Located, model: nn.Module, expressions: Expressions, node: Node, others: Iterable[Node] = ()
) -> Iterator[Spot]:
    """Yield the ways to run a block on the map of `node`, in the order in which to try them.

    Args:
        located: the network's maps.
        model: the network.
        expressions: of this trace.
        node: the map.
        others: maps that will be needed next.
    """
    traced = located.trace
    hosts = [(call, path) for call, path in hosts_of(traced, node) if _keeps_hooks(model, call)]
    # Conversion to SyncBatchNorm and fusion replace a norm, and its hooks with it: such hosts come last.
    fragile = [(call, path) for call, path in hosts if issubclass(call.kind, _NormBase)]
    for call, path in hosts:
        if (call, path) not in fragile:
            yield Spot("hook_output", call.qualname, path)
    if node.op != "placeholder":
        yield from _in_graph(located, model, node)
        for qualname, expression in expressions.of(node, others):
            yield Spot("expression", qualname, expression=expression)
    alone = reader(located, node)
    if alone is not None and _keeps_hooks(model, alone):
        yield Spot("hook_input", alone.qualname, (0,))
    yield from _rewritten(located, model, node)
    for call, path in fragile:
        yield Spot("hook_output", call.qualname, path)


def _keeps_hooks(model: nn.Module, call: ModuleCall) -> bool:
    """Return False for a GraphModule: its copies lose their hooks, so its graph gets a node instead."""
    return not isinstance(model.get_submodule(call.qualname), fx.GraphModule)


def _in_graph(located: Located, model: nn.Module, node: Node) -> Iterator[Spot]:
    """Yield the node of a GraphModule's own graph that makes the map."""
    index = node.meta["call"]
    for code, instruction in node.meta["frames"]:
        call = located.trace.calls[index if index is not None else 0]
        if code is nn.Module._call_impl.__code__:
            index = call.parent
            continue
        host = model.get_submodule(call.qualname)
        # Each copy of a GraphModule has its own class and code, but node names are the same in all of them.
        if isinstance(host, fx.GraphModule) and code.co_filename.startswith("<eval_with_key>"):
            name = _assigned_at(code, instruction)
            if name in {n.name for n in host.graph.nodes} and len(located.trace.calls_of(call.qualname)) == 1:
                yield Spot("graph", call.qualname, operation=(name, 0))


def _assigned_at(code: CodeType, instruction: int) -> str:
    """Return the variable that the current statement assigns; generated code has one for each node."""
    for found in dis.get_instructions(code):
        if found.offset > instruction and found.opname == "STORE_FAST":
            return str(found.argval)
    return ""


def _rewritten(located: Located, model: nn.Module, node: Node) -> Iterator[Spot]:
    """Yield the operation to rewrite, if the forward has no source and a trace of it loses nothing."""
    found = own_operation(located.trace, node) if node.op != "placeholder" else None
    if found is None:
        return
    name, operation = found
    host = model.get_submodule(name)
    if _has_source(host) or _loses_by_tracing(host):
        return
    lengths = argument_lengths(host, located.trace.calls_of(name)[0])
    yield Spot("rewrite", name, operation=operation, lengths=lengths)


def _has_source(host: nn.Module) -> bool:
    try:
        source_of(host.forward.__code__)
    except (SourceError, AttributeError):
        return False
    return True


def _loses_by_tracing(host: nn.Module) -> bool:
    """Return True if a trace might freeze a value that this forward reads, or drop a side effect."""
    code = getattr(host.forward, "__code__", None)
    if code is None:
        return True
    names = names_in(code)
    # Numbers and containers that it may read become constants in a trace; its mode is traced both ways.
    held = [vars(module) for module in host.modules()] + [host.forward.__globals__]
    frozen = (space[name] for space in held for name in names & space.keys() if name != "training")
    if any(isinstance(value, _FROZEN) for value in frozen):
        return True
    # Its other methods are not searched for what they read; contexts and assignments are not traced.
    methods = {name for cls in type(host).__mro__ if cls not in nn.Module.__mro__ for name in vars(cls)}
    operations = {found.opname for found in dis.get_instructions(code)}
    return bool(names & methods) or not operations.isdisjoint(_BESIDES)


# Types whose value a trace records, but not where it was read.
_FROZEN = (bool, int, float, str, list, tuple, dict, set)
_BESIDES = {"BEFORE_WITH", "LOAD_SPECIAL", "SETUP_WITH", "STORE_ATTR"}
