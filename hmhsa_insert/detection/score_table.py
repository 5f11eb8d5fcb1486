"""The table that an evaluation of detectors prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmhsa_insert.detection.metric import NAMES
from hmhsa_insert.files.numbers import big
from hmhsa_insert.tables import Table, left, right
from hmhsa_insert.training.score_tables import damaged_notes


def precision_table(rows: Sequence[Mapping[str, Any]], source: str) -> Table:
    """Return the averages of boxes and masks, and what each detector costs; arguments as of ``Task.tables``."""
    cells, costs = [], []
    for row in rows:
        for kind, of, name in (("box", "boxes", row["name"]), ("mask", "masks", "")):
            if row[kind] is not None:
                shares = (row[kind][average] for average in NAMES)
                cells.append([name, of, *("–" if share is None else f"{share:.3f}" for share in shares)])
        cost = f"{big(row['num_params'])} parameters, {big(row['macs'])} MACs at {row['size'][0]}×{row['size'][1]}"
        costs.append(f"{row['name']} ({row['detector']}): {cost}, {row['images_per_s']:.1f} images/s")
    title = f"{source}: {rows[0]['images']:,} images of the validation split, COCO's average precision"
    headers = [left(), left("of"), *map(right, NAMES)]
    return Table.of(title, headers, cells, [*damaged_notes(rows), *costs])
