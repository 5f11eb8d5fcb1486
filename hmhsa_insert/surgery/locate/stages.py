"""Locate: find the stages of a network, its blocks and its cut points, by structure and measurement.

A **cut point** is a feature map through which every path to the network's deepest map passes. A **stage** is a run of
cut points at one cumulative stride; stage k has stride 2^(k+1), so stage 1 is 1/4 and stage 4 is 1/32 as in the paper,
and stage 0 is a stem at 1/2. Nothing is read from names or tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.base.inputs import InputSize, LeafPath
from hmhsa_insert.surgery.locate.maps import FeatureMap, Layout, feature_maps, trace_other_size
from hmhsa_insert.surgery.locate.recorder import ModuleCall, can_host
from hmhsa_insert.surgery.locate.trace import Trace, trace
from hmhsa_insert.surgery.locate.trunk import trunk
from hmhsa_insert.surgery.locate.units import Unit, find_units, has_kernel


@dataclass(frozen=True)
class Host:
    """A module whose return value is the map: where an edit is made in the module tree.

    Attributes:
        qualname: the module.
        path: where in its output the map is; empty when the output is the map itself.
    """

    qualname: str
    path: LeafPath = ()


@dataclass(frozen=True)
class CutPoint:
    """One feature map of the trunk.

    Attributes:
        qualname: the module whose output it is, else the module in whose forward it is computed.
        node: name of its node in the trace.
        stride, channels, height, width, layout: the map, measured.
        host: where a hook carries an edit; None when the map is no module's return value.
        frames: how many such maps one sample has, as in :class:`FeatureMap`.
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


@dataclass(frozen=True)
class Stage:
    """A run of blocks at one stride.

    Attributes:
        index: k with stride = 2^(k+1); None for strides that are no power of two.
        stride, channels, height, width: of the map at the stage's end.
        cut_points: the end of every block, in order; the last is the stage's end.
        entry: the map after a downsampling step of its own (no block); None where the first block strides.
    """

    index: int | None
    stride: int
    channels: int
    height: int
    width: int
    cut_points: tuple[CutPoint, ...]
    entry: CutPoint | None


@dataclass(frozen=True)
class Located:
    """A network's map: the trace, the one at another size (None if it takes one only), its maps, its stages."""

    trace: Trace
    other: Trace | None
    maps: Mapping[Node, FeatureMap]
    stages: tuple[Stage, ...]
    all_cut_points: tuple[CutPoint, ...]

    @property
    def one_size_only(self) -> bool:
        """Whether the network takes one input size only."""
        return self.other is None

    @property
    def one_image_alike(self) -> bool:
        """Whether the trace at another size is of one image, with which the forward goes the same way."""
        return self.other is not None and self.other.batch == 1


def locate_stages(
    model: nn.Module, input_size: InputSize = (3, 224, 224), *, inputs: InputSize = None
) -> tuple[Stage, ...]:
    """Find the stages of a convolutional model, by structure and measurement.

    Args:
        model: the model; it is neither run nor changed, and no memory is allocated for weights.
        input_size: ``(C, H, W)`` of one image. For models with several inputs, see :meth:`Inputs.of`.
        inputs: example tensors, used instead of `input_size`: one, a tuple by position, or a dict by name.

    Returns:
        The stages in the order of the forward; empty if no feature map lies on every path through the model.
        Stage k has stride 2^(k+1), so stage 1 is at 1/4 of the image and stage 4 at 1/32, as in the paper;
        channels, height and width are those of its last map, in pixels of that map.

    Raises:
        ModelError: the forward fails on this input, the model cannot be copied, is wrapped (DDP, compiled,
            scripted) or has lazy parameters, or the inputs are not described correctly.

    Source:
        arXiv 2106.03180: four stages at 1/4, 1/8, 1/16 and 1/32 of the image.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> for stage in hi.locate_stages(model, input_size=(3, 64, 64)):
        ...     print(stage.index, stage.stride, stage.channels, stage.cut_points[-1].qualname)
        0 2 32 act1
        1 4 32 layer1.0
        2 8 48 layer2.0
        3 16 192 layer3.0
        4 32 96 layer4.0
    """
    return locate(model, input_size if inputs is None else inputs).stages


def locate(model: nn.Module, input_size: InputSize = (3, 224, 224)) -> Located:
    """Trace `model` at two sizes and return everything that was found."""
    traced = trace(model, input_size)
    other = trace_other_size(model, traced)
    maps = feature_maps(traced, other)
    cuts = trunk(traced, maps)
    units = find_units(traced, maps, cuts)
    stages = tuple(_stages(traced, maps, units))
    points = tuple(cut_point(traced, maps, node) for node in cuts if node.op != "placeholder")
    return Located(traced, other, maps, stages, points)


def cut_point(
    traced: Trace, maps: Mapping[Node, FeatureMap], node: Node, preferred: ModuleCall | None = None
) -> CutPoint:
    """Describe the map of `node`; `preferred` is the call whose output it should be named after, if it can."""
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
    """Yield the module calls, outermost first, whose return value is `node` and which can carry a child.

    Left out are the root, modules called more than once (a site is a call, not a module), containers that run
    whatever child they are given, and modules that read the map again before they return.
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
        if any(position < user.meta["position"] < call.last for user in node.users):
            continue
        for path, output in call.outputs:
            if output is node:
                yield call, path
                break


def _stages(traced: Trace, maps: Mapping[Node, FeatureMap], units: list[Unit]) -> Iterator[Stage]:
    previous = 1
    for stride, group in groupby(units, key=lambda unit: maps[unit.end].stride):
        run = list(group)
        enters = stride != previous and len(run) > 1 and _only_strides(traced, run[0], run[1])
        points = [cut_point(traced, maps, unit.end, unit.call) for unit in run]
        entry = points.pop(0) if enters else None
        end = points[-1]
        index = stride.bit_length() - 2 if stride & (stride - 1) == 0 else None
        yield Stage(index, stride, end.channels, end.height, end.width, tuple(points), entry)
        previous = stride


def _only_strides(traced: Trace, unit: Unit, following: Unit) -> bool:
    """Return True for a downsampling layer (pool, strided convolution, transition, TDB), not a block that strides."""
    weights = _weights(traced, unit)
    return unit.kind != following.kind and weights < 3 and weights <= _weights(traced, following)


def _weights(traced: Trace, unit: Unit) -> int:
    first, last = (unit.call.first, unit.call.last) if unit.call else (unit.start, unit.start + 1)
    return sum(has_kernel(node) for node in traced.nodes[first:last])
