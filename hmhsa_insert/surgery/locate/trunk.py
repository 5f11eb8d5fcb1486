"""The trunk of a traced network: the values through which every path to its deepest map passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch.fx import Node

from hmhsa_insert.surgery.locate.growing import backbone_end, neck_runs
from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.paths import ancestors, descendants, dominators, last_at_largest_stride
from hmhsa_insert.surgery.locate.trace import Trace


@dataclass(frozen=True)
class Trunk:
    """The maps of a network that stages are made of.

    Attributes:
        cuts: the cut points of the backbone in order; empty if no map lies on every path.
        neck: the runs of maps at one stride behind the backbone, by the resized map that each begins with.
    """

    cuts: list[Node] = field(default_factory=list)
    neck: dict[Node, list[Node]] = field(default_factory=dict)


def find_trunk(traced: Trace, maps: Mapping[Node, FeatureMap]) -> Trunk:
    """Return the maps that every path to a network's deepest map passes, and those of its neck.

    In a network with one output these are the dominators of the output. If outputs leave early (U-Net skips,
    a list of features), they are those of the deepest map, so that the stages of an encoder are still found. If a
    path passes even by these, they are those of the last map before the resolution grows again.
    """
    placeholders = [node for node in traced.nodes if node.op == "placeholder"]
    # More than four axes: a clip, whose frames run as a batch.
    images = [n for n in placeholders if n in maps or len(n.meta["shape"]) > 4]
    if not images:
        return Trunk()
    output = traced.graph.output_node()
    live = descendants(images)  # what depends on no image, such as position tables, decides nothing
    through = dominators(traced, live, output)
    live &= ancestors([output])
    deepest = _deepest(traced, maps, live, through)
    if deepest is None:
        return Trunk()
    end = backbone_end(traced, maps, live, deepest)
    cuts = [node for node in dominators(traced, live, end) if node in maps]
    return Trunk(cuts, neck_runs(traced, maps, live, end))


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
    last = last_at_largest_stride(everywhere, maps)
    if not shared:
        return _before_the_ways_part(traced, maps, live, last)
    last_shared = last_at_largest_stride(shared, maps)
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
    passed = dominators(traced, descendants(start), traced.graph.output_node())
    return [n for n in passed if n in maps and maps[n].stride == maps[start[0]].stride][-1]
