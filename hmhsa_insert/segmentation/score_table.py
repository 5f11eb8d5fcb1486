"""The tables that an evaluation of segmenters prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmhsa_insert.tables import Cell, Table, TableCell, left, right
from hmhsa_insert.training.score_tables import score_table

_MOST_ROWS = 30
_NOTE = (
    "IoU: pixels of both over pixels of either; Dice: twice the first over the sum of both areas; "
    "counted over the set, a class that nothing is of is left out of the means"
)


def segment_tables(rows: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
    """Return the scores of each segmenter, and of a single one its classes; arguments as of ``Task.tables``."""
    names = ("miou", "mdice", "pixel_accuracy")
    scores = [["–" if row[name] is None else f"{100 * row[name]:.2f}" for name in names] for row in rows]
    found = score_table(rows, source, map(right, ("mIoU %", "Dice %", "pixels %")), scores)
    return [found, _classes(rows[0]["per_class"])] if len(rows) == 1 else [found]


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return pixels, IoU and Dice of each class, the lowest IoU first, as they fit a screen."""
    known = {name: each for name, each in per_class.items() if each["iou"] is not None}
    order = sorted(known, key=lambda name: known[name]["iou"])
    cells: list[list[Cell]] = [
        [name, known[name]["pixels"], *(_percent(known[name][key]) for key in ("iou", "dice"))]
        for name in order[:_MOST_ROWS]
    ]
    if len(order) > _MOST_ROWS:
        cells.append([f"and {len(order) - _MOST_ROWS} with more", *[TableCell("", None)] * 3])
    heads = [left("class"), right("pixels"), right("IoU %"), right("Dice %")]
    return Table.of("Per class, lowest IoU first", heads, cells, [_NOTE])


def _percent(share: float) -> TableCell:
    return TableCell(f"{100 * share:.2f}", share)
