"""What a classifier does with each class: recall, precision, which classes it confuses, and AUC of two classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hmhsa_insert.tables import Cell, Table, TableCell, left, right

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
# More rows than these no one reads on a screen; so many characters of a matrix fit 80 columns.
_MOST_ROWS, _MOST_PAIRS, _WIDEST = 20, 10, 74


def confusion_of(targets: Counts, predicted: Counts, classes: int) -> Counts:
    """Return counts, classes × classes: a row is the true class, a column the predicted one.

    Args:
        targets: the true class of each image, N.
        predicted: the class that each was taken for, N.
        classes: how many there are.
    """
    return (
        np.bincount(targets * classes + predicted, minlength=classes**2)
        .reshape(classes, classes)
        .astype(np.int64)
    )


def recall(confusion: Counts) -> Shares:
    """Return how many images of each class were recognized, in percent; NaN for a class without images."""
    return _share(confusion, confusion.sum(axis=1))


def precision(confusion: Counts) -> Shares:
    """Return how many images taken for a class are of it, in percent; NaN for a class that none was taken for."""
    return _share(confusion, confusion.sum(axis=0))


def _share(confusion: Counts, sizes: Counts) -> Shares:
    with np.errstate(invalid="ignore"):
        shares: Shares = 100.0 * np.diag(confusion) / sizes
    return shares


def auc(targets: Counts, margins: Shares) -> float | None:
    """Return the area under the ROC curve of two classes; None where there is no image of one of them, or a
    margin is not a number.

    It is the share of pairs, one image of each class, in which the image of class 1 has the larger margin; a tie counts
    half (Mann and Whitney's U over the number of pairs).

    Args:
        targets: 0 or 1, N.
        margins: the score of class 1 less that of class 0, N.
    """
    ones = int((targets == 1).sum())
    zeros = len(targets) - ones
    if not ones or not zeros or np.isnan(margins).any():
        return None
    _, place, counts = np.unique(margins, return_inverse=True, return_counts=True)
    ranks = float((np.cumsum(counts) - (counts - 1) / 2)[place[targets == 1]].sum())  # ties share their mean
    return (ranks - ones * (ones + 1) / 2) / (ones * zeros)


def class_tables(
    shares: Mapping[str, Sequence[float | None]], confusion: Counts | None, folded: bool = False
) -> list[Table]:
    """Return recall and precision of each class, the lowest recall first, and which classes are confused.

    Args:
        shares: class -> its recall and its precision in percent, None where there is none.
        confusion: see :func:`confusion_of`; None where it is not known.
        folded: whether a page shows them at a click only.
    """
    known = {name: each for name, each in shares.items() if each[0] is not None}
    order = sorted(known, key=lambda name: known[name][0] or 0.0)
    rows: list[list[Cell]] = [[name, *map(_percent, known[name])] for name in order[:_MOST_ROWS]]
    if len(order) > _MOST_ROWS:
        rows.append([f"and {len(order) - _MOST_ROWS} with more", *[TableCell("", None)] * len(rows[0][1:])])
    heads = (
        [left("class"), right("recall %"), right("precision %")][: len(rows[0])] if rows else [left("class")]
    )
    notes = [
        "recall: images of the class that were recognized; precision: images taken for it that are of it"
    ]
    found = [Table.of("Per class, lowest recall first", heads, rows, notes, folded)]
    return found if confusion is None else [*found, _confused(list(shares), confusion, folded)]


def _percent(value: float | None) -> TableCell:
    return TableCell("" if value is None else f"{value:.1f}", value)


def _confused(classes: Sequence[str], confusion: Counts, folded: bool) -> Table:
    """Return the matrix where it fits a screen, else the pairs that are confused most often."""
    cells = [max(len(name), len(str(int(confusion.max())))) + 3 for name in classes]
    if max(map(len, classes)) + sum(cells) <= _WIDEST:
        title = "Confusion: images of the true class (row) by predicted class (column)"
        counts: list[list[Cell]] = [
            [name, *line.tolist()] for name, line in zip(classes, confusion, strict=True)
        ]
        return Table.of(title, [left("true class"), *map(right, classes)], counts, folded=folded)
    wrong = confusion - np.diag(np.diag(confusion))
    places = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [divmod(int(place), len(classes)) for place in places]
    listed: list[list[Cell]] = [
        [classes[true], classes[other], int(wrong[true, other])]
        for true, other in pairs
        if wrong[true, other]
    ]
    heads = [left("true class"), left("taken for"), right("images")]
    return Table.of("Most often taken for another class", heads, listed, folded=folded)
