"""Paths through a recorded forward: what lies behind and before a value, and what every path passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch.fx import Node

from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.trace import Trace


def dominators(traced: Trace, live: set[Node], sink: Node) -> list[Node]:
    """Return the nodes of `live` that every path to `sink` passes, in order, with `sink` last.

    One pass over the nodes in order of execution: a node is a dominator if no edge leads past it, from a node
    before to a node after it.
    """
    inside = ancestors([sink]) & live
    inside.add(sink)
    found, reach = [], -1
    for node in traced.nodes:
        if node not in inside:
            continue
        position = node.meta["position"]
        if reach <= position:  # no value from before this node is read after it
            found.append(node)
        reach = max([reach, *(user.meta["position"] for user in node.users if user in inside)])
    return found


def descendants(sources: Iterable[Node]) -> set[Node]:
    """Return what is computed from `sources`, with them."""
    return _reached(sources, lambda node: node.users)


def ancestors(sinks: Iterable[Node]) -> set[Node]:
    """Return what `sinks` are computed from, with them."""
    return _reached(sinks, lambda node: node.all_input_nodes)


def _reached(nodes: Iterable[Node], following: Callable[[Node], Iterable[Node]]) -> set[Node]:
    front = list(nodes)
    found = set(front)
    while front:
        new = [node for node in following(front.pop()) if node not in found]
        found.update(new)
        front += new
    return found


def last_at_largest_stride(nodes: list[Node], maps: Mapping[Node, FeatureMap]) -> Node:
    """Return the last of the deepest maps among `nodes`, which are in order."""
    largest = max(maps[node].stride for node in nodes)
    return [node for node in nodes if maps[node].stride == largest][-1]
