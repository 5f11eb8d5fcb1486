"""The plots of a study: differences with their intervals (a forest plot), and scores against multiply–accumulates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.labels import Label, legend_below
from hmhsa_insert.reports.plots import COLORS, MARKERS, UNNAMED, Plot, draw_svg, named
from hmhsa_insert.reports.study_comparisons import BASELINE, Comparison

# More rows than these no one reads; the widest differences are then shown.
_MOST_ROWS = 60
_MOST_LABELS = 30


def forest(found: Iterable[Comparison], score: Quantity, what: str) -> Plot | None:
    """Plot differences with both intervals; None where nothing can be compared.

    Args:
        found: comparisons, a row for each that has a pair.
        score: by which variants are compared.
        what: the differences are called.
    """
    known = [each for each in found if each.said]
    if not known:
        return None
    cut = ""
    if len(known) > _MOST_ROWS:
        largest = sorted(known, key=lambda each: -abs(each.said.mean if each.said else 0))[:_MOST_ROWS]
        cut = f"; the {_MOST_ROWS} largest of {len(known)}"
        known = [each for each in known if each in largest]
    unit = " in percentage points" if score.is_percent else ""
    caption = f"{what}{unit}, paired by seed; line: 95 % t interval, bar: BCa{cut}"
    draw = partial(_forest, known=known, score=score)
    return Plot(caption, draw_svg(draw, height=1.2 + 0.3 * len(known)))


def score_against_macs(frame: pd.DataFrame, score: Quantity) -> Plot | None:
    """Plot the mean score (± sd over seeds) over multiply–accumulates; None where no variant has both.

    Args:
        frame: see :func:`hmhsa_insert.reports.study_rows.summarise`.
        score: by which variants are compared.
    """
    known = frame[frame[f"{score.field}_mean"].notna() & frame["macs"].notna()]
    if known.empty:
        return None
    what = score.name[:1].upper() + score.name[1:]
    caption = f"{what} against multiply–accumulates, attention included; bars: standard deviation over seeds"
    draw = partial(_scatter, known=known, score=score)
    return Plot(f"{caption}; hollow: the baseline; {UNNAMED}", draw_svg(draw))


def _forest(axes: Axes, known: Sequence[Comparison], score: Quantity) -> None:
    many = len({each.group for each in known}) > 1
    labels = []
    for place, each in enumerate(known):
        said = each.said
        assert said is not None
        label = named(each.variant.label) + (f" − {each.kind}" if each.kind != BASELINE else "")
        labels.append(f"{label} ({named(each.group)})" if many else label)
        for ends, width, alpha in ((said.t, 1, 1.0), (said.bca, 4, 0.4)):
            if ends is not None:
                scaled = [end / score.unit for end in ends]
                axes.plot(scaled, [place, place], color=COLORS[0], linewidth=width, alpha=alpha)
        axes.plot([said.mean / score.unit], [place], marker="o", color=COLORS[0])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=f"Δ {score.header}" + " (percentage points)" * score.is_percent)


def _scatter(axes: Axes, known: pd.DataFrame, score: Quantity) -> Sequence[Label]:
    labels = []
    unit, label = QUANTITIES["macs"].scale(float(known["macs"].max()))
    for (group, rows), color, marker in zip(
        known.groupby("group", sort=False), cycle(COLORS), cycle(MARKERS), strict=False
    ):
        for row in rows.to_dict(orient="records"):
            x, y = row["macs"] / unit, row[f"{score.field}_mean"] / score.unit
            spread = 0.0 if pd.isna(row[f"{score.field}_sd"]) else row[f"{score.field}_sd"] / score.unit
            face = "none" if row["baseline"] else color
            axes.errorbar(x, y, yerr=spread, color=color, marker=marker, markerfacecolor=face, capsize=2)
            labels.append(Label(named(row["variant"]), x, y))
        axes.plot([], [], color=color, marker=marker, linestyle="none", label=named(group))
    if known["group"].nunique() > 1:
        legend_below(axes)
    axes.set(xlabel=label, ylabel=score.header + " (%)" * score.is_percent)
    axes.margins(x=0.15, y=0.1)
    return labels if len(labels) <= _MOST_LABELS else ()
