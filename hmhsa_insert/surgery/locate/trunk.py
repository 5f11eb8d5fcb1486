"""The trunk of a traced network: the values through which every path to its deepest map passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch.fx import Node

from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.trace import Trace


def trunk(traced: Trace, maps: Mapping[Node, FeatureMap]) -> list[Node]:
    """Return the cut points of a network in order: the maps that every path to its deepest map passes.

    In a network with one output these are the dominators of the output. If outputs leave early (U-Net skips,
    a list of features), they are those of the deepest map, so that the stages of an encoder are still found.

    Returns:
        Every cut point that is a feature map; empty if no map lies on every path.
    """
    placeholders = [node for node in traced.nodes if node.op == "placeholder"]
    # More than four axes: a clip, whose frames run as a batch.
    images = [n for n in placeholders if n in maps or len(n.meta["shape"]) > 4]
    if not images:
        return []
    output = traced.graph.output_node()
    live = _descendants(images)  # what depends on no image, such as position tables, decides nothing
    through = dominators(traced, live, output)
    deepest = _deepest(traced, maps, live & _ancestors([output]), through)
    if deepest is None:
        return []
    return [node for node in dominators(traced, live, deepest) if node in maps]


def dominators(traced: Trace, live: set[Node], sink: Node) -> list[Node]:
    """Return the nodes of `live` that every path to `sink` passes, in order, with `sink` last.

    One pass over the nodes in order of execution: a node is a dominator if no edge leads past it, from a node
    before to a node after it.
    """
    inside = _ancestors([sink]) & live
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


def _deepest(
    traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], through: list[Node]
) -> Node | None:
    """Return the map at which the trunk ends.

    It is the last map at the largest stride that all outputs depend on; but if the maps shared by all outputs
    end because some outputs leave earlier, it is the last map at the largest stride of all.
    """
    everywhere = [node for node in traced.nodes if node in live and node in maps]
    shared = [node for node in through if node in maps and node.op != "output"]
    if not everywhere:
        return None
    last = _last_at_largest_stride(everywhere, maps)
    if not shared:
        return _before_the_ways_part(traced, maps, live, last)
    last_shared = _last_at_largest_stride(shared, maps)
    # After the shared maps all outputs pass through pooled features: the head of a classifier, and no early
    # output.
    ends_in_vector = any(
        node.op != "output" and node not in maps and node.meta["position"] > shared[-1].meta["position"]
        for node in through
    )
    if ends_in_vector or maps[last_shared].stride == maps[last].stride:
        return last_shared
    return _before_the_ways_part(traced, maps, live, last)


def _before_the_ways_part(
    traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], last: Node
) -> Node:
    """Return the last map on the path to `last` that everything at its stride passes.

    In a pyramid the deepest level has a head of its own beside the top-down path: what that head computes
    does not belong to the trunk. If a second path leads down again (a path aggregation network), the first
    one is the trunk's, provided that it passes more strides.
    """
    stride = maps[last].stride
    down = [n for n in dominators(traced, live, last) if n in maps and maps[n].stride == stride][:1]
    first = [n for n in traced.nodes if n in live and n in maps and maps[n].stride == stride][:1]
    ends = [_passed_by_all(traced, maps, start) for start in (down, first)]
    return max(
        ends, key=lambda end: len({maps[n].stride for n in dominators(traced, live, end) if n in maps})
    )


def _passed_by_all(traced: Trace, maps: Mapping[Node, FeatureMap], start: list[Node]) -> Node:
    """Return the last map at the stride of `start` that every path from it to the output passes."""
    passed = dominators(traced, _descendants(start), traced.graph.output_node())
    return [n for n in passed if n in maps and maps[n].stride == maps[start[0]].stride][-1]


def _last_at_largest_stride(nodes: list[Node], maps: Mapping[Node, FeatureMap]) -> Node:
    largest = max(maps[node].stride for node in nodes)
    return [node for node in nodes if maps[node].stride == largest][-1]


def _descendants(sources: Iterable[Node]) -> set[Node]:
    found, front = set(sources), list(sources)
    while front:
        for user in front.pop().users:
            if user not in found:
                found.add(user)
                front.append(user)
    return found


def _ancestors(sinks: Iterable[Node]) -> set[Node]:
    found, front = set(sinks), list(sinks)
    while front:
        for source in front.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                front.append(source)
    return found
