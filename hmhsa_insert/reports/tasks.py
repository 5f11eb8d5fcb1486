"""The paper's tables, one for each task that the rows are of: classification, detection, instance segmentation."""

from __future__ import annotations

import pandas as pd

from hmhsa_insert.reports.columns import DETECTION
from hmhsa_insert.reports.table import Table, make_table


def task_tables(frame: pd.DataFrame, title: str = "") -> list[Table]:
    """Return the tables of `frame` (see :func:`hmhsa_insert.reports.frame.tidy`), each task with its own columns.

    Trained detectors are in the table of their boxes, those that segment in two more, of boxes and of masks; whatever
    is no trained detector is in the first table.

    Args:
        frame: the tidy frame.
        title: what stands above the first.
    """
    segments = frame["mask_ap"].notna()
    detects = frame["box_ap"].notna() & ~segments
    parts = {
        title: (frame[~segments & ~detects], None),
        "Object detection": (frame[detects], DETECTION["box"]),
        "Instance segmentation: masks": (frame[segments], DETECTION["mask"]),
        "Instance segmentation: boxes": (frame[segments], DETECTION["box"]),
    }
    if not (segments | detects).any():
        return [make_table(frame, None, title)]
    return [
        make_table(rows, keys, " · ".join(filter(None, (title, heading))) if heading != title else title)
        for heading, (rows, keys) in parts.items()
        if len(rows)
    ]
