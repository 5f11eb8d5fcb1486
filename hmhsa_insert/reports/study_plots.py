"""The plots of a study: differences with their intervals (a forest plot), and scores against multiply–accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.labels import Label, legend_below
from hmhsa_insert.reports.plots import COLORS, MARKERS, UNNAMED, Plot, draw_svg, named

# More rows than these no one reads; the widest differences are then shown.
_MOST_ROWS = 60
_MOST_LABELS = 30


def forest(frame: pd.DataFrame, score: Quantity) -> Plot | None:
    """Plot every variant's difference to its baseline with both intervals; None where nothing can be compared.

    Args:
        frame: see :func:`hmhsa_insert.reports.study_rows.summarise`.
        score: by which variants are compared.
    """
    known = frame[frame["diff_mean"].notna()]
    if known.empty:
        return None
    cut = ""
    if len(known) > _MOST_ROWS:
        largest = known["diff_mean"].abs().nlargest(_MOST_ROWS).index
        known, cut = known.loc[sorted(largest)], f"; the {_MOST_ROWS} largest of {len(known)}"
    unit = " in percentage points" if score.is_percent else ""
    caption = f"Difference to the baseline{unit}, paired by seed; line: 95 % t interval, bar: BCa{cut}"
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


def _forest(axes: Axes, known: pd.DataFrame, score: Quantity) -> None:
    many = known["group"].nunique() > 1
    labels = [
        f"{named(variant)} ({named(group)})" if many else named(variant)
        for variant, group in zip(known["variant"], known["group"], strict=True)
    ]
    for place, row in enumerate(known.to_dict(orient="records")):
        for kind, width, alpha in (("t", 1, 1.0), ("bca", 4, 0.4)):
            if pd.notna(row[f"{kind}_low"]):
                ends = [row[f"{kind}_{end}"] / score.unit for end in ("low", "high")]
                axes.plot(ends, [place, place], color=COLORS[0], linewidth=width, alpha=alpha)
        axes.plot([row["diff_mean"] / score.unit], [place], marker="o", color=COLORS[0])
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
