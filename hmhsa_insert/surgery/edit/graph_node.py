"""Edit a module that is already a graph: in a ``torch.fx.GraphModule``, a block is one more node."""

from __future__ import annotations

from torch import fx, nn


def insert_node(host: nn.Module, name: str, child: nn.Module, after: str) -> None:
    """Run `child`, registered as `name`, on the value of node `after`; all readers get the child's output.

    Raises:
        StopIteration: a graph of the module has no such node.
    """
    host.add_module(name, child)
    for graph in _graphs(host):
        node = next(n for n in graph.nodes if n.name == after)
        with graph.inserting_after(node):
            call = graph.call_module(name, (node,))
        # All readers but the new call itself, which reads the node.
        node.replace_all_uses_with(call, delete_user_cb=lambda user, call=call: user is not call)
    _recompile(host)


def remove_node(host: nn.Module, name: str) -> None:
    """Undo :func:`insert_node`."""
    for graph in _graphs(host):
        (call,) = (n for n in graph.nodes if n.op == "call_module" and n.target == name)
        call.replace_all_uses_with(call.args[0])
        graph.erase_node(call)
    del host._modules[name]
    _recompile(host)


def _graphs(host: nn.Module) -> list[fx.Graph]:
    """Return the graphs of a module: torchvision's feature extractors have one for each mode."""
    return list({id(graph): graph for graph in vars(host).values() if isinstance(graph, fx.Graph)}.values())


def _recompile(host: nn.Module) -> None:
    assert isinstance(host, fx.GraphModule)
    host.graph.lint()
    host.recompile()
