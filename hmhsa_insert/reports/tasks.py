"""The paper's tables, one for each task that the rows are of: classification, detection, masks, others."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from hmhsa_insert.quantities import ordered
from hmhsa_insert.quantity import SCORES, Quantity
from hmhsa_insert.reports.columns import DETECTION, PAPER, SEMANTIC
from hmhsa_insert.reports.frame import other_scores
from hmhsa_insert.reports.table import make_table
from hmhsa_insert.tables import Table

# Columns that tables of papers have; runs with other scores get a table of their own.
_OF_PAPERS = {*PAPER, *DETECTION["box"], *DETECTION["mask"]}


def task_tables(frame: pd.DataFrame, title: str = "") -> list[Table]:
    """Return the tables of `frame` (see :func:`hmhsa_insert.reports.frame.tidy`), each task with its own columns.

    Trained detectors are in the table of their boxes, those that segment in two more, of boxes and of masks; segmenters
    of pixels are in one of their mIoU; runs with other scores are in a table for each set of scores; whatever is left
    is in the first table.

    Args:
        frame: the tidy frame.
        title: what stands above the first, and begins the titles of the others.
    """
    segments = frame["mask_ap"].notna()
    detects = frame["box_ap"].notna() & ~segments
    semantic = frame["miou"].notna()
    of_no_paper = [each.field for each in _scores(frame) if each.key not in _OF_PAPERS]
    others = frame[of_no_paper].notna().any(axis=1) & ~segments & ~detects & ~semantic
    parts = [
        ("", frame[~segments & ~detects & ~semantic & ~others], None),
        ("Object detection", frame[detects], DETECTION["box"]),
        ("Instance segmentation: masks", frame[segments], DETECTION["mask"]),
        ("Instance segmentation: boxes", frame[segments], DETECTION["box"]),
        ("Semantic segmentation", frame[semantic], _with_delta(frame[semantic])),
        *_of_other_scores(frame[others]),
    ]
    if not (segments | detects | semantic | others).any():
        return [make_table(frame, None, title)]
    return [
        make_table(rows, keys, " · ".join(filter(None, (title, heading))))
        for heading, rows, keys in parts
        if len(rows)
    ]


def _with_delta(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of segmenters, the difference in mIoU too where there is one."""
    return (*SEMANTIC, "delta_miou") if frame["delta_miou"].notna().any() else SEMANTIC


def _scores(frame: pd.DataFrame) -> list[Quantity]:
    return [*(each for each in ordered("columns") if each.section == SCORES), *other_scores(frame)]


def _of_other_scores(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, tuple[str, ...]]]:
    """Yield a heading, the rows and the columns for each set of scores that rows have."""
    known = _scores(frame)
    has = frame[[each.field for each in known]].notna()
    for _, rows in frame.groupby([has[name] for name in has], sort=False):
        scores = [each for each in known if rows[each.field].notna().any()]
        deltas = [each for each in scores if each.delta and rows[f"delta_{each.field}"].notna().any()]
        keys = ("method", "params", "layer_macs", *(each.key for each in scores))
        heading = ", ".join(each.header for each in scores)
        yield heading, rows, (*keys, *(f"delta_{each.key}" for each in deltas))
