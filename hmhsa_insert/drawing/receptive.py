"""Theoretical receptive fields, by structure: from the position at the centre of a map back to the image.

The receptive field is the smallest rectangle of the image that holds every pixel on which the position depends, for
weights of any value. It is not cut at the edge of the image, so that it may be larger than the image. It covers the
whole map if the position depends on every pixel (attention over the whole map, squeeze-and-excitation, a group norm).
Every operation on the way must have a rule in :mod:`.reach`; otherwise the field is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from hmhsa_insert.blocks.looks import Looks
from hmhsa_insert.drawing.attention import attending
from hmhsa_insert.drawing.data import Receptive
from hmhsa_insert.drawing.grid import EVERYTHING, Grid, Need, Operation, Read, Span, UnknownReach, found_again
from hmhsa_insert.drawing.reach import reads
from hmhsa_insert.surgery.locate.maps import keyed
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.stages import Located
from hmhsa_insert.surgery.locate.trace import Trace


def receptive_fields(model: nn.Module, located: Located, names: Iterable[str]) -> dict[str, Receptive]:
    """Return the receptive field of each map, by the name of its node in the trace.

    Args:
        model: the network.
        located: what was found in it.
        names: of nodes that are maps.
    """
    if located.other is None:
        return {name: Receptive(unknown="the network runs at one input size only") for name in names}
    ways = _ways(model, located.trace, located.other)
    nodes = {node.name: node for node in located.trace.nodes}
    return {name: _field(located.trace, ways, nodes[name]) for name in names}


@dataclass(frozen=True)
class _Way:
    """How one value depends on its inputs; `unknown` says which operation has no rule."""

    grid: Grid | None = None
    sources: Mapping[Node, Read] | None = None
    unknown: str = ""


def _ways(model: nn.Module, traced: Trace, other: Trace) -> dict[Node, _Way]:
    """Return how every value that depends on the image does so."""
    others = dict(keyed(other))
    shapes = {node: others[key].meta.get("shape") for key, node in keyed(traced) if key in others}
    jumps = _whole_blocks(model, traced)
    ways: dict[Node, _Way] = {}
    for node in traced.nodes:
        shape, twin = node.meta.get("shape"), shapes.get(node)
        if node.op == "placeholder" and shape is not None and len(shape) == 4 and twin is not None:
            ways[node] = _Way(Grid((2, 3), (shape[2], twin[2]), (shape[3], twin[3])), {})
        elif node.op == "call_function" and any(source in ways for source in node.all_input_nodes):
            ways[node] = _way(traced, node, tuple(shape or ()), twin, ways, jumps.get(node))
    return ways


def _way(
    traced: Trace,
    node: Node,
    shape: tuple[int, ...],
    twin: tuple[int, ...] | None,
    ways: Mapping[Node, _Way],
    jump: Node | None,
) -> _Way:
    call = node.meta.get("call")
    name = traced.calls[call].qualname if call is not None else ""
    reason = f"{node.meta.get('function')} in {name or 'the forward'} is not covered"
    try:
        if twin is None:
            raise UnknownReach
        if jump is not None and (grid := ways[jump].grid) is not None:
            return _Way(found_again(grid, shape, tuple(twin)), {jump: lambda need: EVERYTHING})
        sources = {}
        for source in node.all_input_nodes:
            if source in ways:
                if (grid := ways[source].grid) is None:
                    return ways[source]
                sources[source] = grid
        return _Way(*reads(Operation(node, shape, tuple(twin), sources)))
    except UnknownReach:
        return _Way(unknown=reason)


def _whole_blocks(model: nn.Module, traced: Trace) -> dict[Node, Node]:
    """Return output and input of every block of ours that attends to the whole map, in steps that no rule follows."""
    found = {}
    for name, module in attending(model).items():
        for inner in traced.calls_of(f"{name}.norm" if name else "norm"):
            block = _around(traced, inner)
            if block is not None and _sees_all(module, inner):
                found[block.outputs[0][1]] = block.inputs[0]
    return found


def _sees_all(module: Looks, norm: ModuleCall) -> bool:
    shape = norm.inputs[0].meta["shape"]
    return len(shape) == 4 and any(look.covers_map for look in module.looks(shape[2], shape[3]))


def _around(traced: Trace, call: ModuleCall) -> ModuleCall | None:
    """Return the innermost call around `call` that turns one map into one of the same size."""
    while call.parent is not None:
        call = traced.calls[call.parent]
        given, made = (
            [node.meta["shape"] for node in call.inputs],
            [node.meta["shape"] for _, node in call.outputs],
        )
        if len(given) == 1 and given == made and len(given[0]) == 4:
            return call
    return None


def _field(traced: Trace, ways: Mapping[Node, _Way], target: Node) -> Receptive:
    """Follow what the position at the centre of `target` needs, back to the image."""
    way = ways.get(target)
    if way is None or way.grid is None:
        return Receptive(unknown=way.unknown if way else "it does not depend on the image")
    needs: dict[Node, Need] = {target: (_centre(way.grid.rows[0]), _centre(way.grid.cols[0]))}
    rows, cols = [], []
    for node in reversed(traced.nodes[: target.meta["position"] + 1]):
        if node not in needs:
            continue
        if node.op == "placeholder":
            rows.append(needs[node][0])
            cols.append(needs[node][1])
        for source, read in (ways[node].sources or {}).items():
            needed = read(needs[node])
            needs[source] = _both(needs[source], needed) if source in needs else needed
    spans = (_all(rows), _all(cols))
    height, width = (None if span is None else span[1] - span[0] + 1 for span in spans)
    return Receptive(height, width)


def _centre(length: int) -> Span:
    return length // 2, length // 2


def _both(one: Need, two: Need) -> Need:
    return _hull(one[0], two[0]), _hull(one[1], two[1])


def _hull(one: Span, two: Span) -> Span:
    return None if one is None or two is None else (min(one[0], two[0]), max(one[1], two[1]))


def _all(spans: list[Span]) -> Span:
    found = spans[0]
    for span in spans[1:]:
        found = _hull(found, span)
    return found
