"""The plots of a study: differences with their intervals (a forest plot), and accuracy against multiply–accumulates."""

from __future__ import annotations

from functools import partial
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from hmhsa_insert.reports.plots import COLOURS, MARKERS, Plot, draw_svg, named

# More rows than these no one reads; the widest differences are then shown.
_MOST_ROWS = 60
_MOST_LABELS = 30


def forest(frame: pd.DataFrame) -> Plot | None:
    """Plot every variant's difference to its baseline with both intervals; None where nothing can be compared.

    Args:
        frame: see :func:`hmhsa_insert.reports.study_rows.summarise`.
    """
    known = frame[frame["diff_mean"].notna()]
    if known.empty:
        return None
    cut = ""
    if len(known) > _MOST_ROWS:
        largest = known["diff_mean"].abs().nlargest(_MOST_ROWS).index
        known, cut = known.loc[sorted(largest)], f"; the {_MOST_ROWS} largest of {len(known)}"
    caption = f"Difference to the baseline in percentage points, paired by seed; line: 95 % t interval, bar: BCa{cut}"
    return Plot(caption, draw_svg(partial(_forest, known=known), height=1.2 + 0.3 * len(known)))


def accuracy_against_macs(frame: pd.DataFrame) -> Plot | None:
    """Plot mean top-1 (± sd over seeds) over multiply–accumulates; None where no variant has both.

    Args:
        frame: see :func:`hmhsa_insert.reports.study_rows.summarise`.
    """
    known = frame[frame["top1_mean"].notna() & frame["macs"].notna()]
    if known.empty:
        return None
    caption = "Accuracy against multiply–accumulates, attention included; bars: standard deviation over seeds"
    return Plot(f"{caption}; hollow: the baseline", draw_svg(partial(_scatter, known=known)))


def _forest(axes: Axes, known: pd.DataFrame) -> None:
    many = known["group"].nunique() > 1
    labels = [
        f"{named(variant)} ({named(group)})" if many else named(variant)
        for variant, group in zip(known["variant"], known["group"], strict=True)
    ]
    for place, row in enumerate(known.to_dict(orient="records")):
        if pd.notna(row["t_low"]):
            axes.plot([row["t_low"], row["t_high"]], [place, place], color=COLOURS[0], linewidth=1)
        if pd.notna(row["bca_low"]):
            axes.plot(
                [row["bca_low"], row["bca_high"]], [place, place], color=COLOURS[0], linewidth=4, alpha=0.4
            )
        axes.plot([row["diff_mean"]], [place], marker="o", color=COLOURS[0])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel="Δ Top-1 (percentage points)")


def _scatter(axes: Axes, known: pd.DataFrame) -> None:
    for (group, rows), colour, marker in zip(
        known.groupby("group", sort=False), cycle(COLOURS), cycle(MARKERS), strict=False
    ):
        for row in rows.to_dict(orient="records"):
            x, y = row["macs"] / 1e9, row["top1_mean"]
            spread = 0.0 if pd.isna(row["top1_sd"]) else row["top1_sd"]
            face = "none" if row["baseline"] else colour
            axes.errorbar(x, y, yerr=spread, color=colour, marker=marker, markerfacecolor=face, capsize=2)
            if len(known) <= _MOST_LABELS:
                axes.annotate(
                    named(row["variant"]), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7
                )
        axes.plot([], [], color=colour, marker=marker, linestyle="none", label=named(group))
    if known["group"].nunique() > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.set(xlabel="GMACs, attention included", ylabel="Top-1 (%)")
    axes.margins(x=0.15, y=0.1)
