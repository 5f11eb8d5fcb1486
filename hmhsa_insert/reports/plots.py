"""The plots of a report, as SVG text: the same figures give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from hmhsa_insert.inert import visible
from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.frame import size_label

# Okabe and Ito's colors, distinguishable for color-blind readers; markers differ too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
# One fewer than colors, so that the pairs of both repeat after 56 groups and not after eight.
MARKERS = "osD^vP*"
# More than these would cover each other: then groups have a legend in place of labels, and their bases alone a bar.
_MOST_LABELS = 30
_MOST_BARS = 24
_LONGEST = 60
_STYLE: Any = {
    "svg.hashsalt": "hmhsa-insert",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
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
    known = frame.dropna(subset=[quantity.field, QUANTITIES["flops"].field])
    if known.empty:
        return None
    draw = partial(_scatter, known=known, over=QUANTITIES["flops"], quantity=quantity)
    hollow = "; hollow: published" if known["published"].any() else ""
    what = quantity.axis.partition(" (")[0]
    return Plot(
        f"{what} against multiply–accumulates of convolution and linear layers{hollow}", draw_svg(draw)
    )


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
    what = quantity.axis.partition(" (")[0]
    draw = partial(_lines, lines=lines, quantity=quantity)
    return Plot(f"{what} against the image; dotted: linear in its pixels", draw_svg(draw))


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

    def draw(axes: Axes) -> None:
        left, places = [0.0] * len(table), range(len(table))
        for part, color in zip(table.columns, cycle(COLORS), strict=False):
            widths = _floats(table[part])
            axes.barh(places, widths, left=left, color=color, label=named(part), edgecolor="white")
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(places, list(map(named, table.index)))
        axes.invert_yaxis()
        axes.set(xlabel=QUANTITIES["macs"].axis)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return Plot("Multiply–accumulates by part of the network", draw_svg(draw, height=1.2 + 0.4 * len(table)))


def _bars(parts: pd.DataFrame) -> pd.DataFrame:
    """Return GMACs with a row for each profile and a column for each part, no more than there are colors."""
    bars = parts.assign(
        bar=[
            f"{method} @ {size_label(height, width)}"
            for method, height, width in zip(parts["method"], parts["height"], parts["width"], strict=True)
        ]
    )
    table = bars.pivot_table(index="bar", columns="part", values="macs", aggfunc="sum", sort=False).fillna(0)
    gmacs: pd.DataFrame = table.loc[:, table.sum() > 0.005 * table.sum(axis=1).max()] / 1e9
    if len(gmacs.columns) <= len(COLORS):
        return gmacs
    large = gmacs.sum().nlargest(len(COLORS) - 1).index
    small = gmacs.drop(columns=large).sum(axis=1)
    shown = [part for part in gmacs.columns if part in large]
    return pd.concat([gmacs[shown], small.rename("others")], axis=1)


def _lines(axes: Axes, lines: list[tuple[str, pd.DataFrame]], quantity: Quantity) -> None:
    for (name, rows), color, marker in zip(lines, cycle(COLORS), cycle(MARKERS), strict=False):
        x, y = _floats(rows["pixels"]), _floats(rows[quantity.field], quantity.unit)
        axes.plot(x, y, color=color, marker=marker, label=named(name))
        axes.plot(x, [y[0] * pixels / x[0] for pixels in x], color=color, linestyle=":", alpha=0.7)
    sizes = pd.concat([rows for _, rows in lines]).drop_duplicates("pixels")
    labels = [
        size_label(height, width) for height, width in zip(sizes["height"], sizes["width"], strict=True)
    ]
    axes.set(xscale="log", yscale="log", xlabel="Image (pixels, height × width)", ylabel=quantity.axis)
    axes.set_xticks(_floats(sizes["pixels"]), labels)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize=8)


def _scatter(axes: Axes, known: pd.DataFrame, over: Quantity, quantity: Quantity) -> None:
    groups = list(known.groupby("group", sort=False))
    crowded = len(known) > _MOST_LABELS
    for (group, rows), color, marker in zip(groups, cycle(COLORS), cycle(MARKERS), strict=False):
        face = "none" if rows["published"].all() else color
        x, y = (_floats(rows[each.field], each.unit) for each in (over, quantity))
        axes.scatter(x, y, marker=marker, edgecolors=color, facecolors=face, label=named(group))
        for name, place in zip(rows["method"], zip(x, y, strict=True), strict=True):
            if not crowded:
                axes.annotate(named(name), place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel=over.axis, ylabel=quantity.axis)
    axes.margins(x=0.15, y=0.1)
    if crowded:
        axes.set(xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.05)
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def named(name: object) -> str:
    """Return a name for a label: with what XML allows, and no longer than a plot has room for."""
    text = visible(name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _floats(values: pd.Series, unit: float = 1.0) -> list[float]:
    return [float(value) / unit for value in values]


def draw_svg(draw: Callable[[Axes], None], height: float = 3.6) -> str:
    """Return what `draw` draws on fresh axes, as SVG without a date."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
