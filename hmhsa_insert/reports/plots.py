"""The plots of a report, as SVG text: the same figures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from hmhsa_insert.inert import visible
from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.frame import size_label
from hmhsa_insert.reports.labels import Label, legend_below, settle

# Okabe and Ito's colors, distinguishable for color-blind readers; markers differ too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
# One fewer than colors, so that the pairs of both repeat after 56 groups and not after eight.
MARKERS = "osD^vP*"
# More than these would cover each other: then groups have a legend in place of labels, and their bases alone a bar.
_MOST_LABELS = 30
_MOST_BARS = 24
_LONGEST = 60
# What captions say of the names beside points.
UNNAMED = "a name that would cover another is left out"
_STYLE: Any = {
    # SVG's own resolution: what is measured is what is written.
    "figure.dpi": 72,
    "axes.formatter.useoffset": False,
    "svg.hashsalt": "hmhsa-insert",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Plot:
    """One plot: what it shows, in a sentence, and its SVG."""

    caption: str
    svg: str


def against_macs(frame: pd.DataFrame, quantity: Quantity) -> Plot | None:
    """Plot a quantity over MACs; None where no method has both.

    Published figures count convolution and linear layers only; so does this plot, for all.

    Args:
        frame: the tidy frame.
        quantity: one of its columns.
    """
    known = frame.dropna(subset=[quantity.field, QUANTITIES["layer_macs"].field])
    if known.empty:
        return None
    draw = partial(_scatter, known=known, over=QUANTITIES["layer_macs"], quantity=quantity)
    hollow = "; hollow: published" if known["published"].any() else ""
    caption = f"{quantity.what} against multiply–accumulates of convolution and linear layers"
    return Plot(f"{caption}{hollow}; {UNNAMED}", draw_svg(draw))


def against_size(frame: pd.DataFrame, quantity: Quantity) -> Plot | None:
    """Plot a quantity over the pixels of the image, both logarithmic; None without a method at two sizes.

    Args:
        frame: the tidy frame.
        quantity: one of its columns.
    """
    known = frame.dropna(subset=[quantity.field])
    known = known.assign(pixels=known["height"] * known["width"]).sort_values("pixels")
    lines = [
        (str(name), rows)
        for name, rows in known.groupby("method", sort=False)
        if rows["pixels"].nunique() > 1
    ]
    if not lines:
        return None
    draw = partial(_lines, lines=lines, quantity=quantity)
    return Plot(f"{quantity.what} against the image; dotted: linear in its pixels", draw_svg(draw))


def part_bars(parts: pd.DataFrame) -> Plot | None:
    """Plot MACs by part as one bar per profile; None without parts.

    Of many profiles only the bases of the groups have a bar; of many parts the small ones are drawn as one.

    Args:
        parts: see :func:`hmhsa_insert.reports.parts.parts_frame`.
    """
    if parts.empty:
        return None
    if len(parts.drop_duplicates(["method", "height", "width"])) > _MOST_BARS:
        parts = parts[parts["method"] == parts["group"]]
    table = _bars(parts)
    unit, label = QUANTITIES["macs"].scale(float(table.sum(axis=1).max()))

    def draw(axes: Axes) -> None:
        left, places = [0.0] * len(table), range(len(table))
        for part, color in zip(table.columns, cycle(COLORS), strict=False):
            widths = _floats(table[part], unit)
            axes.barh(places, widths, left=left, color=color, label=named(part), edgecolor="white")
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(places, list(map(named, table.index)))
        axes.invert_yaxis()
        axes.set(xlabel=label)
        legend_below(axes)

    return Plot("Multiply–accumulates by part of the network", draw_svg(draw, height=1.2 + 0.4 * len(table)))


def _bars(parts: pd.DataFrame) -> pd.DataFrame:
    """Return MACs with a row for each profile and a column for each part, no more than there are colors."""
    bars = parts.assign(
        bar=[
            f"{method} @ {size_label(height, width)}"
            for method, height, width in zip(parts["method"], parts["height"], parts["width"], strict=True)
        ]
    )
    table = bars.pivot_table(index="bar", columns="part", values="macs", aggfunc="sum", sort=False).fillna(0)
    macs: pd.DataFrame = table.loc[:, table.sum() > 0.005 * table.sum(axis=1).max()]
    if len(macs.columns) <= len(COLORS):
        return macs
    large = macs.sum().nlargest(len(COLORS) - 1).index
    small = macs.drop(columns=large).sum(axis=1)
    shown = [part for part in macs.columns if part in large]
    return pd.concat([macs[shown], small.rename("others")], axis=1)


def _lines(axes: Axes, lines: list[tuple[str, pd.DataFrame]], quantity: Quantity) -> None:
    sizes = pd.concat([rows for _, rows in lines])
    unit, label = quantity.scale(float(sizes[quantity.field].max()))
    for (name, rows), color, marker in zip(lines, cycle(COLORS), cycle(MARKERS), strict=False):
        x, y = _floats(rows["pixels"]), _floats(rows[quantity.field], unit)
        axes.plot(x, y, color=color, marker=marker, label=named(name))
        axes.plot(x, [y[0] * pixels / x[0] for pixels in x], color=color, linestyle=":", alpha=0.7)
    sizes = sizes.drop_duplicates("pixels").sort_values("pixels")
    ticks = [size_label(height, width) for height, width in zip(sizes["height"], sizes["width"], strict=True)]
    axes.set(xscale="log", yscale="log", xlabel="Image (pixels, height × width)", ylabel=label)
    axes.set_xticks(_floats(sizes["pixels"]), ticks)
    axes.set_xticks([], minor=True)
    _in_plain_numbers(axes.yaxis)
    legend_below(axes)


def _in_plain_numbers(axis: Axis) -> None:
    """Let a logarithmic axis have 1, 2, 5, 10, … as its ticks."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _scatter(axes: Axes, known: pd.DataFrame, over: Quantity, quantity: Quantity) -> Sequence[Label]:
    crowded, labels = len(known) > _MOST_LABELS, []
    (x_unit, x_label), (y_unit, y_label) = (each.scale(known[each.field].max()) for each in (over, quantity))
    groups = list(known.groupby("group", sort=False))
    for (group, rows), color, marker in zip(groups, cycle(COLORS), cycle(MARKERS), strict=False):
        face = "none" if rows["published"].all() else color
        x, y = _floats(rows[over.field], x_unit), _floats(rows[quantity.field], y_unit)
        axes.scatter(x, y, marker=marker, edgecolors=color, facecolors=face, label=named(group))
        labels += [Label(named(name), *place) for name, *place in zip(_names(rows, known), x, y, strict=True)]
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.margins(x=0.15, y=0.1)
    if not crowded:
        return labels
    axes.set(xscale="log")
    _in_plain_numbers(axes.xaxis)
    axes.margins(x=0.05)
    legend_below(axes)
    return ()


def _names(rows: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    """Return the methods of `rows`, with their sizes where a method comes at several."""
    several = len(known.drop_duplicates(["method", "height", "width"])) > known["method"].nunique()
    sizes = (f" @ {size_label(*each)}" for each in zip(rows["height"], rows["width"], strict=True))
    return [f"{name}{size}" if several else name for name, size in zip(rows["method"], sizes, strict=True)]


def named(name: object) -> str:
    """Return a name for a label: with what XML allows, and no longer than a plot has room for."""
    text = visible(name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _floats(values: pd.Series, unit: float = 1.0) -> list[float]:
    return [float(value) / unit for value in values]


def draw_svg(draw: Callable[[Axes], Sequence[Label] | None], height: float = 3.6) -> str:
    """Return what `draw` draws on fresh axes, as SVG without a date.

    Args:
        draw: draws, and returns the names to write beside points, the most important first.
        height: in inches, of a plot that is 6.4 inches wide.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.add_subplot()
        settle(figure, axes, draw(axes) or ())
        return _as_svg(figure)


def _as_svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
