"""Texts of a plot that do not overlap: names beside points where there is room, and no more ticks than fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_SIZE, _MARKER, _GAP = 7, 7, 1.5
# Where a name may stand beside its point, nearest first: distances in points, and directions.
_DISTANCES = (4, 11, 19, 28)
_DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
# Characters that fit side by side in the legend below a plot, and what a marker takes of them.
_LEGEND_WIDTH, _LEGEND_MARKER = 84, 7


@dataclass(frozen=True)
class Label:
    """A name for the point at `x` and `y`, in the units of the data."""

    text: str
    x: float
    y: float


def settle(figure: Figure, axes: Axes, labels: Sequence[Label]) -> None:
    """Lay a figure out, leave out ticks that would overlap, and write those labels that find room.

    Args:
        figure: with its legend, if it has one.
        axes: its only axes.
        labels: the most important first.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in (axes.xaxis, axes.yaxis):
        _thin(axis)
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [_around(x, y, _MARKER * figure.dpi / 72) for x, y in points]
    for number, label in enumerate(labels):
        box = _written(axes, label, taken[:number] + taken[number + 1 :])
        taken += [box] if box is not None else []


def legend_below(axes: Axes) -> None:
    """Draw the legend of `axes` below them, and make the figure as much higher."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    handles, texts = axes.get_legend_handles_labels()
    columns = max(1, _LEGEND_WIDTH // (max(map(len, texts)) + _LEGEND_MARKER))
    figure.set_figheight(figure.get_figheight() + 0.19 * ceil(len(texts) / columns))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _thin(axis: Axis) -> None:
    """Leave out every tick whose text would overlap that of one before it."""
    least, most = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
    shown = [(place, text) for place, text in ticks if least <= place <= most and text.get_text()]
    kept: list[tuple[float, str]] = []
    boxes: list[Bbox] = []
    for place, text in shown:
        box = text.get_window_extent()
        if _is_free(box, boxes):
            kept.append((place, text.get_text()))
            boxes.append(box)
    if len(kept) < len(shown):
        axis.set_ticks([place for place, _ in kept], [text for _, text in kept])


def _written(axes: Axes, label: Label, taken: Sequence[Bbox]) -> Bbox | None:
    """Write a label at the nearest place that is free, and return its box; None where there is no such place."""
    pixel = axes.figure.dpi / 72
    x, y = axes.transData.transform((label.x, label.y))
    text = axes.annotate(
        label.text, (label.x, label.y), xytext=(0, 0), textcoords="offset points", fontsize=_SIZE
    )
    size = text.get_window_extent()
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            left = x + right * distance * pixel - size.width * (1 - right) / 2
            bottom = y + up * distance * pixel - size.height * (1 - up) / 2
            box = Bbox.from_bounds(left, bottom, size.width, size.height)
            if _is_within(box, axes.bbox) and _is_free(box, taken):
                text.set_position(((left - x - (size.x0 - x)) / pixel, (bottom - y - (size.y0 - y)) / pixel))
                return box
    text.remove()
    return None


def _around(x: float, y: float, side: float) -> Bbox:
    return Bbox.from_bounds(x - side / 2, y - side / 2, side, side)


def _is_within(box: Bbox, outer: Bbox) -> bool:
    return bool(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1)


def _is_free(box: Bbox, taken: Iterable[Bbox]) -> bool:
    padded = box.padded(_GAP)
    return not any(padded.overlaps(other) for other in taken)
