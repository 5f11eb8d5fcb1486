"""Pools that keep what is left at the edge, of a map whose size is symbolic. The form of exported programs.

torch's pools with ``ceil_mode`` compare their sizes, which the exporter cannot decide for every size. Here each
place of a window is an index into the map: places beyond the edge repeat the last row, and a mean leaves them out.
Results equal those of torch's pools without padding up to the order of sums.
"""

from __future__ import annotations

from functools import reduce

import torch


def max_pool(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Return ``F.max_pool2d(x, kernel, stride, ceil_mode=True)`` of an N×C×H×W map, with `stride` up to `kernel`."""
    for axis in (2, 3):
        last = x.shape[axis] - 1
        places = _places(x, axis, kernel, stride)
        x = reduce(torch.maximum, [x.index_select(axis, place.clamp(max=last)) for place in places])
    return x


def mean_pool(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Return ``F.avg_pool2d(x, kernel, stride, ceil_mode=True)`` of an N×C×H×W map, with `stride` up to `kernel`."""
    for axis, shape in ((2, (-1, 1)), (3, (-1,))):
        last = x.shape[axis] - 1
        places = _places(x, axis, kernel, stride)
        own = [(place <= last).to(x.dtype).view(shape) for place in places]
        values = [x.index_select(axis, place.clamp(max=last)) for place in places]
        x = reduce(torch.add, [a * b for a, b in zip(values, own, strict=True)]) / reduce(torch.add, own)
    return x


def _places(x: torch.Tensor, axis: int, kernel: int, stride: int) -> list[torch.Tensor]:
    """Return the first place of every window along an axis, the second, and so on."""
    # As a convolution counts its windows, so that both are seen to be as many.
    windows = (x.shape[axis] - kernel + stride - 1) // stride + 1
    first = stride * torch.arange(windows, device=x.device)
    return [first + offset for offset in range(kernel)]
