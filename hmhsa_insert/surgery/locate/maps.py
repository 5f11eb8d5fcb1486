"""Find the feature maps of a trace, with their layout, cumulative stride and channels, by measurement.

Two traces at two input sizes are compared: an axis that grows with the image is height or width, one that
does not is channels. The second input is not square, so height and width cannot be confused. An output that
an adaptive pool fixed at 1×1 does not grow, so it is not taken for a map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from torch import nn
from torch.fx import Node

from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.surgery.locate.trace import Trace, trace

Layout = Literal["NCHW", "NHWC"]
# Strides that are tried first: maps of few cells round, and nearly all networks halve.
_POWERS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class FeatureMap:
    """The feature map of one image in a trace.

    Attributes:
        stride: cumulative stride: pixels of the image for each pixel of the map, along one side.
        channels, height, width: its size, without the batch axis.
        layout: order of the axes, ``"NCHW"`` or ``"NHWC"``.
        frames: number of such maps for one sample; more than 1 for a clip whose frames run as a batch.
    """

    stride: int
    channels: int
    height: int
    width: int
    layout: Layout
    frames: int = 1


def feature_maps(first: Trace, second: Trace | None) -> dict[Node, FeatureMap]:
    """Return the feature map of every node of `first` whose value is one.

    Args:
        first: the trace at the input size of interest.
        second: a trace at :func:`other_size`; None if the network takes one size only. The layout then
            follows from sizes alone; if both layouts fit, that of the node's inputs is taken.
    """
    height, width = _image(first.inputs)
    batches = _batches(first)
    found: dict[Node, FeatureMap] = {}
    if second is None:
        for node in first.nodes:
            layouts = [found[source].layout for source in node.all_input_nodes if source in found]
            measured = _from_one_size(_shape(node), height, width, layouts, batches)
            if measured:
                found[node] = measured
        return found
    other_height, other_width = _image(second.inputs)
    growth = (other_height - height, other_width - width)
    others = _batches(second)
    twins = dict(keyed(second))
    for key, node in keyed(first):
        twin = twins.get(key)
        frames = batches.get(_first_axis(node))
        if frames is None or frames != others.get(_first_axis(twin)):
            continue
        measured = _from_growth(_shape(node), _shape(twin), growth, frames)
        # A smaller one is made by an unpadded kernel of a head: it grows with the image and does not cover
        # it.
        if measured and measured.height * measured.stride >= 0.5 * height:
            found[node] = measured
    return found


def other_size(inputs: Inputs) -> Inputs:
    """Return `inputs` with images twice as high and three times as wide; other inputs as they are."""
    return inputs.resized(lambda height, width: (2 * height, 3 * width))


def trace_other_size(model: nn.Module, first: Trace) -> Trace | None:
    """Trace at :func:`other_size`, or return None for a network that takes one size only.

    The trace is of a single image if the forward does the same with one image as with two, so that one trace
    covers both the other size and a batch of one.
    """
    inputs = other_size(first.inputs)
    if inputs.batch is None:
        with suppress(ModelError):
            alone = trace(model, replace(inputs, batch=1))
            if _steps(alone) == _steps(first):
                return alone
    try:
        return trace(model, inputs)
    except ModelError:
        return None


def _steps(traced: Trace) -> list[tuple[object, ...]]:
    return [(n.meta.get("function"), n.meta.get("call"), len(_shape(n))) for n in traced.nodes]


def _image(inputs: Inputs) -> Size:
    return inputs.image.size[-2:] if inputs.image else (0, 0)


def _batches(traced: Trace) -> dict[int, int]:
    """Return the lengths that the first axis of a map may have, each with the number of maps of one sample.

    For a clip T × C × H × W (or C × T × H × W), frames may run as a batch: N·T × C × H × W.
    """
    image = traced.inputs.image
    leading = image.size[:-2] if image and len(image.size) > 3 else ()
    return {traced.batch: 1} | {traced.batch * frames: frames for frames in (*leading, prod(leading[:-1]))}


def _shape(node: Node | None) -> tuple[int, ...]:
    return tuple(node.meta.get("shape", ())) if node is not None else ()


def keyed(traced: Trace) -> Iterator[tuple[tuple[object, ...], Node]]:
    """Yield each node with a key that holds at every input size: module, function, number of repeats."""
    seen: Counter[tuple[object, ...]] = Counter()
    for node in traced.nodes:
        call = node.meta.get("call")
        place = (traced.calls[call].qualname if call is not None else None, node.meta.get("function"))
        yield (*place, seen[place]), node
        seen[place] += 1


def _first_axis(node: Node | None) -> int:
    return next(iter(_shape(node)), 0)


def _from_growth(small: Size, large: Size, growth: tuple[int, int], frames: int) -> FeatureMap | None:
    if len(small) != 4 or len(large) != 4:
        return None
    # Layout, axis of the channels, axis of the rows; columns follow rows in both.
    axes: tuple[tuple[Layout, int, int], ...] = (("NCHW", 1, 2), ("NHWC", 3, 1))
    for layout, channel_axis, row_axis in axes:
        rows, columns = (large[row_axis + i] - small[row_axis + i] for i in (0, 1))
        if small[channel_axis] != large[channel_axis] or rows <= 0 or columns <= 0:
            continue
        stride = _stride_of_growth(growth, (rows, columns))
        if stride:
            return FeatureMap(
                stride, small[channel_axis], small[row_axis], small[row_axis + 1], layout, frames
            )
    return None


def _stride_of_growth(growth: tuple[int, int], grown: tuple[int, int]) -> int | None:
    """Return the stride that best explains how much a map grew with the image, or None.

    Sizes round, so a map of few cells may grow by one more or less than the image divided by the stride.
    """
    for strides in (
        _POWERS,
        # What the growth itself gives, for networks whose stride is not a power of two.
        sorted({round(image / cells) for image, cells in zip(growth, grown, strict=True)}),
    ):
        error = {
            stride: sum(abs(image / stride - cells) for image, cells in zip(growth, grown, strict=True))
            for stride in strides
            if stride
        }
        best = min(error, key=error.__getitem__, default=0)
        # Summed over both axes: one of them may be off by a whole cell, and not both.
        if best and error[best] <= 1.5:
            return best
    return None


def _stride(ratio: float) -> int:
    """Round a measured ratio to a power of two within 8 % of it (odd sizes round), else to an integer."""
    power = 1
    while power * 2 <= ratio * 1.08:
        power *= 2
    return power if abs(ratio - power) <= 0.08 * power else round(ratio)


def _stride_of(side: int, mapped: int) -> int:
    """Return the power of two that divides `side` into `mapped` cells, rounded up or down; else the ratio."""
    fitting = [s for s in _POWERS if side // s <= mapped <= -(-side // s)]
    return fitting[0] if fitting else _stride(side / mapped)


def _from_one_size(
    shape: Size, height: int, width: int, layouts: list[Layout], batches: Mapping[int, int]
) -> FeatureMap | None:
    if len(shape) != 4 or shape[0] not in batches:
        return None
    fits: dict[Layout, FeatureMap] = {}
    axes: tuple[tuple[Layout, int, int], ...] = (("NCHW", 1, 2), ("NHWC", 3, 1))
    for layout, channel_axis, row_axis in axes:
        rows, columns = shape[row_axis], shape[row_axis + 1]
        if rows <= 1 or columns <= 1:  # pooled features
            continue
        # Without growth to measure, the map has to cover the image in both directions at one stride, to a
        # cell.
        down, right = _stride_of(height, rows), _stride_of(width, columns)
        if down == right and 1 <= down <= _POWERS[-1] and abs(rows * down - height) < 2 * down:
            fits[layout] = FeatureMap(down, shape[channel_axis], rows, columns, layout, batches[shape[0]])
    for layout in (*layouts, "NCHW", "NHWC"):
        if layout in fits:
            return fits[layout]
    return None
