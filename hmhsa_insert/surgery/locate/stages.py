"""Locate: find the stages of a network, its blocks and its cut points, by structure and measurement.

A **cut point** is a feature map through which every path to the network's deepest map passes. A **stage** is
a run of cut points at one cumulative stride; stage k has stride 2^(k+1), so stage 1 is at 1/4 and stage 4 at
1/32 as in the paper, and stage 0 is a stem at 1/2. Neither names nor tables are used. The backbone ends before the
resolution grows again; what follows is the **neck** (or decoder), with stages of its own: a run of maps at one stride
that every path from its beginning passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.base.inputs import InputSize, LeafPath
from hmhsa_insert.surgery.locate.maps import FeatureMap, Layout, feature_maps, trace_other_size
from hmhsa_insert.surgery.locate.recorder import ModuleCall, can_host
from hmhsa_insert.surgery.locate.trace import Trace, trace
from hmhsa_insert.surgery.locate.trunk import find_trunk
from hmhsa_insert.surgery.locate.units import Unit, find_units, has_kernel

Part = Literal["backbone", "neck"]


@dataclass(frozen=True)
class Host:
    """A module whose return value is the map, so that an edit can be made in the module tree.

    Attributes:
        qualname: qualified name of the module.
        path: where in its output the map is; empty if the output is the map itself.
    """

    qualname: str
    path: LeafPath = ()


@dataclass(frozen=True)
class CutPoint:
    """One feature map of the trunk.

    Attributes:
        qualname: the module that returns it, else the module in whose forward it is computed.
        node: name of its node in the trace.
        stride, channels, height, width, layout, frames: as measured, see :class:`~.maps.FeatureMap`.
        host: the module that an edit can be hooked to; None if no module returns the map.
    """

    qualname: str
    node: str
    stride: int
    channels: int
    height: int
    width: int
    layout: Layout
    host: Host | None
    frames: int = 1


@dataclass(frozen=True, repr=False)
class Stage:
    """A run of blocks at one stride.

    Attributes:
        index: k with stride = 2^(k+1), so −1 at the full resolution; None for a stride that is not a power of two.
        stride, channels, height, width: of the map at the end of the stage, in pixels of that map.
        cut_points: the map at the end of every block, in order; the last is the end of the stage.
        entry: the map after a separate downsampling layer; None if the first block strides itself.
        part: ``"backbone"``, or ``"neck"`` for what comes after the resolution has grown again.
    """

    index: int | None
    stride: int
    channels: int
    height: int
    width: int
    cut_points: tuple[CutPoint, ...]
    entry: CutPoint | None
    part: Part = "backbone"

    @property
    def name(self) -> str:
        """What a person calls it: ``stage 3``, ``full resolution``, ``stride 6``; those of a neck have no number."""
        if self.part == "neck":
            return "neck"
        if self.index is None:
            return f"stride {self.stride}"
        return f"stage {self.index}" if self.index >= 0 else "full resolution"

    @property
    def size(self) -> str:
        """Its last map, C×H×W."""
        return f"{self.channels}×{self.height}×{self.width}"

    def __str__(self) -> str:
        blocks = f"{len(self.cut_points)} block{'s' if len(self.cut_points) != 1 else ''}"
        return f"{self.name}  stride {self.stride}  {self.size}  {blocks}"

    def __repr__(self) -> str:
        return f"<Stage: {self}>"


@dataclass(frozen=True)
class Located:
    """Everything that was found in a network.

    Attributes:
        trace: the recorded forward.
        other: the same at another input size; None if the network takes one size only.
        maps: the feature maps by their nodes in `trace`.
        stages: those of the backbone, in the order of the forward.
        all_cut_points: those of `stages`, and all others of the backbone.
        neck: the stages of the neck, in the order of the forward; a stride may come more than once.
    """

    trace: Trace
    other: Trace | None
    maps: Mapping[Node, FeatureMap]
    stages: tuple[Stage, ...]
    all_cut_points: tuple[CutPoint, ...]
    neck: tuple[Stage, ...] = ()

    @property
    def one_size_only(self) -> bool:
        """True if the network takes one input size only."""
        return self.other is None

    @property
    def one_image_alike(self) -> bool:
        """True if the trace at another size is of a single image, with which the forward does the same."""
        return self.other is not None and self.other.batch == 1


def locate(model: nn.Module, input_size: InputSize = (3, 224, 224)) -> Located:
    """Trace `model` at two input sizes and return everything that was found."""
    traced = trace(model, input_size)
    other = trace_other_size(model, traced)
    maps = feature_maps(traced, other)
    found = find_trunk(traced, maps)
    stages = tuple(_stages(traced, maps, find_units(traced, maps, found.cuts)))
    points = tuple(cut_point(traced, maps, node) for node in found.cuts if node.op != "placeholder")
    return Located(traced, other, maps, stages, points, tuple(_neck(traced, maps, found.neck)))


def cut_point(
    traced: Trace, maps: Mapping[Node, FeatureMap], node: Node, preferred: ModuleCall | None = None
) -> CutPoint:
    """Describe the map of `node`, named after the call `preferred` if that returns it."""
    hosts = list(hosts_of(traced, node))
    chosen = next((pair for pair in hosts if preferred and pair[0] is preferred), hosts[0] if hosts else None)
    feature = maps[node]
    call = node.meta["call"]
    inside = traced.calls[call].qualname if call is not None else ""
    host = Host(chosen[0].qualname, chosen[1]) if chosen else None
    return CutPoint(
        qualname=host.qualname if host else inside,
        node=node.name,
        stride=feature.stride,
        channels=feature.channels,
        height=feature.height,
        width=feature.width,
        layout=feature.layout,
        host=host,
        frames=feature.frames,
    )


def hosts_of(traced: Trace, node: Node) -> Iterator[tuple[ModuleCall, LeafPath]]:
    """Yield the module calls, outermost first, that return `node` and can have a new child.

    Left out are the root, modules that are called more than once (a site is one call), containers that run
    every child, and modules that read the map again before they return.
    """
    call_index = node.meta["call"]
    chain: list[ModuleCall] = []
    while call_index is not None:
        chain.append(traced.calls[call_index])
        call_index = traced.calls[call_index].parent
    position = node.meta["position"]
    for call in reversed(chain):
        if call.parent is None or not can_host(call.kind):
            continue
        if len(traced.calls_of(call.qualname)) != 1:
            continue
        # A reader inside the module would read the map before the hook has changed it.
        if any(position < user.meta["position"] < call.last for user in node.users):
            continue
        for path, output in call.outputs:
            if output is node:
                yield call, path
                break


def _stages(traced: Trace, maps: Mapping[Node, FeatureMap], units: list[Unit]) -> Iterator[Stage]:
    previous = 1  # the image's own
    for stride, group in groupby(units, key=lambda unit: maps[unit.end].stride):
        yield _stage(traced, maps, list(group), stride != previous)
        previous = stride


def _neck(traced: Trace, maps: Mapping[Node, FeatureMap], runs: Mapping[Node, list[Node]]) -> Iterator[Stage]:
    """Yield a stage for each run that computes something: by its blocks with weights, else where paths join."""
    cuts = {node: begin for begin, run in runs.items() for node in run}
    units = find_units(traced, maps, sorted(cuts, key=lambda node: int(node.meta["position"])))
    for begin in runs:
        run = [unit for unit in units if cuts[unit.end] is begin]
        weighted = [unit for unit in run if _weights(traced, unit)]
        chosen = weighted or [unit for unit in run if unit.end is not begin]
        if chosen:
            yield replace(_stage(traced, maps, chosen, enters=True), part="neck")


def _stage(traced: Trace, maps: Mapping[Node, FeatureMap], run: list[Unit], enters: bool) -> Stage:
    """Return the stage of a run of units; where it `enters` a stride, a step that only strides is not a block."""
    stride = maps[run[-1].end].stride
    # A stage of one unit keeps it as a block: without it there would be none.
    enters = enters and len(run) > 1 and _only_strides(traced, run[0], run[1])
    points = [cut_point(traced, maps, unit.end, unit.call) for unit in run]
    entry = points.pop(0) if enters else None
    end = points[-1]
    index = stride.bit_length() - 2 if stride & (stride - 1) == 0 else None
    return Stage(index, stride, end.channels, end.height, end.width, tuple(points), entry)


def _only_strides(traced: Trace, unit: Unit, following: Unit) -> bool:
    """Return True for a downsampling layer (pool, strided convolution, TDB), not a block that strides."""
    # A TDB has two convolutions. A block that strides has three or more, or more than the block after it, for
    # its shortcut.
    weights = _weights(traced, unit)
    return unit.kind != following.kind and weights < 3 and weights <= _weights(traced, following)


def _weights(traced: Trace, unit: Unit) -> int:
    first, last = (unit.call.first, unit.call.last) if unit.call else (unit.start, unit.start + 1)
    return sum(has_kernel(node) for node in traced.nodes[first:last])
