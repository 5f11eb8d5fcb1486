"""Where the resolution grows again: the backbone ends before it, and a neck or decoder begins.

A map is **upsampled** if its stride is smaller than that of a map it is computed from. What no upsampled map leads
to is the backbone with its side branches, whichever of its maps the paths upwards read.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch.fx import Node

from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.paths import ancestors, descendants, dominators, last_at_largest_stride
from hmhsa_insert.surgery.locate.trace import Trace


def backbone_end(traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], found: Node) -> Node:
    """Return the last map of the backbone where a path passes by the trunk to `found`; else `found`.

    Args:
        traced: the recorded forward.
        maps: its feature maps.
        live: the nodes between the images and the output.
        found: the deepest map that everything shares, or that comes before the ways part.
    """
    grown = _upsampled(traced, maps, live)
    behind = descendants(grown)
    sources = {source for node in grown for source in _coarser(maps, node)}
    reached = ancestors(sources) & live - behind
    inside = [node for node in traced.nodes if node in reached and node in maps]
    if not inside:
        return found
    end = _before_the_paths_up(traced, maps, live - behind, last_at_largest_stride(inside, maps))
    # A network that upsamples early (a stem, parallel branches, inside a block) goes deeper behind it.
    if maps[end].stride < max(maps[node].stride for node in (*sources, found)):
        return found
    if not _passes_every_stride(traced, maps, live, end):  # parallel branches are no run of stages
        return found
    return end if _is_passed_by(traced, maps, live, found, end, found in behind) else found


def neck_runs(
    traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], end: Node
) -> dict[Node, list[Node]]:
    """Return the runs of maps at one stride behind the backbone, by the resized map that each begins with.

    A run holds the maps that every path from its beginning to the output passes. A map that joins several runs
    belongs to the last.

    Args:
        traced: the recorded forward.
        maps: its feature maps.
        live: the nodes between the images and the output.
        end: the last map of the backbone.
    """
    backbone = ancestors([end])
    behind = descendants(n for n in _upsampled(traced, maps, live) if n not in backbone) & live
    run_of: dict[Node, Node] = {}
    for node in traced.nodes:
        if node not in behind or node.op == "output":
            continue
        resized = any(maps[s].stride != maps[node].stride for s in _map_sources(maps, node))
        before = [run_of[source] for source in node.all_input_nodes if source in run_of]
        run_of[node] = node if resized or not before else max(before, key=lambda n: int(n.meta["position"]))
    runs = {}
    for begin in dict.fromkeys(run_of.values()):
        passed = dominators(traced, descendants([begin]), traced.graph.output_node())
        runs[begin] = [n for n in passed if n in maps and run_of.get(n) is begin]
    return runs


def _is_passed_by(
    traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], found: Node, end: Node, behind: bool
) -> bool:
    """Return True if paths pass by the trunk to `found`, so that `end` is the end of the backbone.

    A trunk that ends before the resolution grows is passed by where the backbone goes deeper. One that ends
    `behind` that is a neck's if the outputs part before; if all of them pass it, it is a backbone with blocks that
    upsample inside, unless it lacks strides on its way.
    """
    if not behind:
        return maps[end].stride > maps[found].stride
    theirs, ours = (_strides(traced, maps, live, node) for node in (found, end))
    if found in dominators(traced, live, traced.graph.output_node()):
        return any(stride < maps[found].stride for stride in ours - theirs)
    return len(ours) >= len(theirs)


def _passes_every_stride(traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], end: Node) -> bool:
    """Return True if the way to `end` passes a map at every smaller stride that `end` is computed from."""
    used = {maps[n].stride for n in ancestors([end]) & live if n in maps and n.op != "placeholder"}
    return {stride for stride in used if stride < maps[end].stride} <= _strides(traced, maps, live, end)


def _before_the_paths_up(
    traced: Trace, maps: Mapping[Node, FeatureMap], before: set[Node], last: Node
) -> Node:
    """Return the last map of `before`, at the stride of `last`, that every path from the first one passes."""
    stride = maps[last].stride
    way = [n for n in dominators(traced, before, last) if n in maps and maps[n].stride == stride]
    passed = dominators(traced, descendants(way[:1]), traced.graph.output_node())
    return [n for n in passed if n in before and n in maps and maps[n].stride == stride][-1]


def _strides(traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node], end: Node) -> set[int]:
    return {maps[node].stride for node in dominators(traced, live, end) if node in maps}


def _upsampled(traced: Trace, maps: Mapping[Node, FeatureMap], live: set[Node]) -> list[Node]:
    return [node for node in traced.nodes if node in live and _coarser(maps, node)]


def _coarser(maps: Mapping[Node, FeatureMap], node: Node) -> list[Node]:
    """Return the maps of larger stride that a map is computed from."""
    return [s for s in _map_sources(maps, node) if maps[s].stride > maps[node].stride]


def _map_sources(maps: Mapping[Node, FeatureMap], node: Node) -> list[Node]:
    return [source for source in node.all_input_nodes if source in maps] if node in maps else []
