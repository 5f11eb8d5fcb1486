"""Scores of a segmenter from one confusion matrix of all pixels of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hmhsa_insert.class_scores import Counts, Shares
from hmhsa_insert.inert import csv_text
from hmhsa_insert.training.interfaces import Evaluated, Split
from hmhsa_insert.training.loop.checkpoint import write_text
from hmhsa_insert.training.loop.progress import EpochRow

PER_CLASS = "per_class.csv"
COLUMNS = ("mIoU", "mDice", "pixel_accuracy")


def iou(confusion: Counts) -> Shares:
    """Return intersection over union of each class, K; NaN for a class that no pixel has and none was taken for.

    Args:
        confusion: pixels, K×K: a row is the true class, a column the predicted one.
    """
    both = np.diag(confusion)
    return _ratio(both, confusion.sum(axis=0) + confusion.sum(axis=1) - both)


def dice(confusion: Counts) -> Shares:
    """Return twice the intersection over the sum of both areas of each class, K; NaN as of :func:`iou`."""
    return _ratio(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def pixel_accuracy(confusion: Counts) -> float:
    """Return the share of pixels whose class was found."""
    return float(np.diag(confusion).sum() / confusion.sum())


def mean_of(shares: Shares) -> float | None:
    """Return the mean over the classes that have a share; None where none has."""
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if len(known) else None


def _ratio(part: Counts, whole: Counts) -> Shares:
    with np.errstate(invalid="ignore"):
        shares: Shares = part / whole
    return shares


def _known(shares: Shares) -> Sequence[float | None]:
    # JSON knows no NaN.
    return [None if share != share else share for share in shares.tolist()]


@dataclass(frozen=True, repr=False)
class Segmented(Evaluated):
    """What a segmenter made of a split.

    Attributes:
        classes: names, in the order of the matrix.
        confusion: pixels that have a class, K×K: a row is the true class, a column the predicted one.
        count: how many images were evaluated.
    """

    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    count: int

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return self.count

    @property
    def iou(self) -> Shares:
        """Intersection over union of each class, K; NaN for a class that no pixel has and none was taken for."""
        return iou(self.confusion)

    @property
    def dice(self) -> Shares:
        """Dice of each class, K; NaN likewise."""
        return dice(self.confusion)

    @property
    def row(self) -> EpochRow:
        """Columns of ``metrics.csv``: mean IoU, mean Dice, share of pixels whose class was found."""
        values = (mean_of(self.iou), mean_of(self.dice), pixel_accuracy(self.confusion))
        return dict(zip(COLUMNS, values, strict=True))

    @property
    def said(self) -> str:
        """The scores in words."""
        return ", ".join(f"{name} {value:.3f}" for name, value in self.row.items() if value is not None)

    def per_class(self) -> dict[str, dict[str, float | int | None]]:
        """Return pixels, IoU and Dice by class; None where there is none."""
        columns = (self.confusion.sum(axis=1).tolist(), _known(self.iou), _known(self.dice))
        return {
            name: dict(zip(("pixels", "iou", "dice"), values, strict=True))
            for name, *values in zip(self.classes, *columns, strict=True)
        }

    def write_predictions(self, folder: Path, split: Split) -> None:
        """Write ``per_class.csv``: pixels, IoU and Dice of each class."""
        rows = [(name, *each.values()) for name, each in self.per_class().items()]
        write_text(folder / PER_CLASS, csv_text(("class", "pixels", "iou", "dice"), rows))
