"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hmhsa_insert.training.checkpoint import write_whole
from hmhsa_insert.training.progress import Row

_LOSSES = {"train_loss": "training", "val_loss": "validation", "ema_val_loss": "validation, averaged weights"}
_SCORES = {"train_top1": "training", "top1": "validation", "ema_top1": "validation, averaged weights"}


def draw_curves(history: Sequence[Row], path: Path) -> None:
    """Draw loss and top-1 over the epochs into a PNG file.

    Raises:
        RunError: the disk refuses.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    parts = ((_LOSSES, "loss (cross-entropy)"), (_SCORES, "top-1 (%)"))
    for axes, (columns, label) in zip(figure.subplots(1, 2), parts, strict=True):
        for key, title in columns.items():
            values = [row.get(key) for row in history]
            if any(value is not None for value in values):
                epochs = [row["epoch"] for row in history]
                points = np.array(values, dtype=np.float64)
                axes.plot(epochs, points, marker="o", markersize=3, label=title)
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def draw_confusion(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], classes: Sequence[str], path: Path
) -> None:
    """Draw a confusion matrix, classes × classes, into a PNG file: rows true, columns predicted, shares of a row.

    Raises:
        RunError: the disk refuses.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.25 * len(classes), 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 50:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the time of day: the same figure is the same file."""
    with matplotlib.rc_context({"savefig.dpi": 130}):
        write_whole(path, lambda target: figure.savefig(target, format="png", metadata={"Software": None}))
