"""The outline of a mask as one polygon, which draws the same pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hmhsa_insert.detection.segmentation import Mask

Point = tuple[int, int]


def outline(mask: Mask) -> list[float]:
    """Return [x1, y1, x2, y2, …] of the edges of a mask's pixels.

    Parts and holes are joined by lines that are gone along twice, there and back, and so enclose nothing.

    Args:
        mask: H×W, 0 or 1, not empty.
    """
    first, *others = _loops(mask)
    points = list(first)
    for loop in others:
        points += [first[0], *loop, loop[0]]
    return [float(number) for point in points for number in point]


def _loops(mask: Mask) -> list[list[Point]]:
    """Return the closed lines between the pixels of a mask and others, their corners alone."""
    ends = _edges(mask)
    loops = []
    while ends:
        start = next(iter(ends))
        loop, here = [start], ends[start].pop()
        if not ends[start]:
            del ends[start]
        while here != start:
            loop.append(here)
            following = ends[here].pop()
            if not ends[here]:
                del ends[here]
            here = following
        loops.append(_corners(loop))
    return loops


def _edges(mask: Mask) -> dict[Point, list[Point]]:
    """Return from where to where each edge of a pixel leads that has a pixel of the mask on its right side alone."""
    padded = np.pad(mask.astype(np.int8), 1)
    down, across = np.diff(padded, axis=0), np.diff(padded, axis=1)
    ends: dict[Point, list[Point]] = defaultdict(list)
    for steps, sign, start, end in (
        (down, 1, (0, 0), (1, 0)),
        (down, -1, (1, 0), (0, 0)),
        (across, 1, (0, 1), (0, 0)),
        (across, -1, (0, 0), (0, 1)),
    ):
        rows, columns = np.nonzero(steps == sign)
        # Padded rows and columns count from -1; a step between two is at the edge of the second.
        rows = rows - (steps is across)
        columns = columns - (steps is down)
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            ends[x + start[0], y + start[1]].append((x + end[0], y + end[1]))
    return dict(ends)


def _corners(loop: list[Point]) -> list[Point]:
    before, after = [loop[-1], *loop[:-1]], [*loop[1:], loop[0]]
    return [
        here
        for last, here, following in zip(before, loop, after, strict=True)
        if (here[0] - last[0], here[1] - last[1]) != (following[0] - here[0], following[1] - here[1])
    ]
