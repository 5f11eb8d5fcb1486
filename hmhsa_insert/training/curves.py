"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hmhsa_insert.inert import visible
from hmhsa_insert.training.interfaces import Panel
from hmhsa_insert.training.loop.checkpoint import write_whole
from hmhsa_insert.training.loop.progress import EpochRow

# More of a class's name would leave no room for the matrix.
_LONGEST = 40


def draw_curves(history: Sequence[EpochRow], panels: Sequence[Panel], path: Path) -> None:
    """Draw columns over the epochs into a PNG file, one panel beside the other.

    Raises:
        RunError: writing fails.
    """
    figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, title in panel.curves.items():
            values = [row.get(key) for row in history]
            if any(value is not None for value in values):
                epochs = [row["epoch"] for row in history]
                points = np.array(values, dtype=np.float64)
                axes.plot(epochs, points, marker="o", markersize=3, label=title)
        axes.set(xlabel="epoch", ylabel=panel.label)
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def draw_confusion(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], classes: Sequence[str], path: Path
) -> None:
    """Draw a confusion matrix, classes × classes, into a PNG file: rows true, columns predicted, shares of a row.

    Raises:
        RunError: writing fails.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.25 * len(classes), 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 50:
        names = [visible(name)[:_LONGEST] for name in classes]
        # A dollar sign in a name is a dollar sign.
        axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the time of day: the same figure is the same file."""
    with matplotlib.rc_context({"savefig.dpi": 130}):
        write_whole(path, lambda target: figure.savefig(target, format="png", metadata={"Software": None}))
