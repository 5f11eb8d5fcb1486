"""The table of a tidy frame: one row per network, one column per quantity that is asked for, and notes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hmhsa_insert.reports.columns import Column, chosen, columns_of
from hmhsa_insert.reports.frame import as_records, size_label
from hmhsa_insert.tables import Header, Table, TableCell, TableRow

_BATCH = (
    "Batch: the largest whose training step with AdamW fits into {:g} GiB, by what is saved for backward, weights, "
    "gradients and optimizer state (an upper bound), or by the peak where it was measured"
)


def make_table(frame: pd.DataFrame, columns: Sequence[str] | None = None, title: str = "") -> Table:
    """Return the table of `frame` (see :func:`hmhsa_insert.reports.frame.tidy`).

    Args:
        frame: the tidy frame.
        columns: keys of :func:`~hmhsa_insert.reports.columns.columns_of`, or ``all`` alone; by default those of the
            paper's table.
        title: what stands above it.

    Raises:
        ReportError: a column does not exist.
    """
    shown = chosen(columns, frame)
    sources = list(dict.fromkeys(frame.loc[frame["published"], "source"]))
    marks = {source: str(number) for number, source in enumerate(sources, start=1)}
    rows = []
    for record in as_records(frame):
        record["pixels"] = record["height"] * record["width"]
        cells = tuple(_cell(column, record) for column in shown)
        rows.append(TableRow(cells, record["group"], marks[record["source"]] if record["published"] else ""))
    return Table(
        title=title,
        headers=tuple(Header(column.header, column.numeric) for column in shown),
        rows=tuple(rows),
        notes=(*_notes(shown, frame), *(f"[{mark}] published: {source}" for source, mark in marks.items())),
    )


def _cell(column: Column, record: dict[str, object]) -> TableCell:
    value = record[column.field]
    if value is None:
        return TableCell("", None)
    if column.key == "size":
        return TableCell(size_label(_int(record["height"]), _int(record["width"])), _int(value))
    write = column.published_text if record["published"] else None
    return TableCell((write or column.text)(value), float(str(value)) if column.numeric else str(value))


def _int(value: object) -> int:
    return int(str(value))


def _notes(shown: Sequence[Column], frame: pd.DataFrame) -> list[str]:
    """Return what a reader must know of these columns, and where times were measured."""
    notes = list(dict.fromkeys(column.note for column in shown if column.note))
    keys = {column.key for column in shown}
    scores = [column.runs for key, column in columns_of(frame).items() if key in keys]
    for label in filter(None, dict.fromkeys(scores)):
        notes += [f"{label} of our runs: on {data}" for data in frame["data"].dropna().unique()]
    if "batch" in keys:
        notes += [_BATCH.format(gib) for gib in frame["device_gib"].dropna().unique()]
    places = frame["measured_on"].dropna().unique()
    if any(column.timed for column in shown) and len(places):
        notes.append(f"Times measured on {'; on '.join(places)}")
    return notes
