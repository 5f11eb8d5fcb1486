"""The table of a tidy frame: one row per network, one column per quantity that is asked for, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.columns import Column, chosen
from hmhsa_insert.reports.frame import as_records, size_label
from hmhsa_insert.tables import Header, Table, TableCell, TableRow

_BATCH = (
    "Batch: the largest whose training step with AdamW fits into {:g} GiB, by what is saved for backward, weights, "
    "gradients and optimizer state (an upper bound), or by the peak where it was measured"
)


def quantity_header(quantity: Quantity) -> Header:
    """Return the head of the column of a quantity."""
    return Header(quantity.header, True, (quantity.note,) if quantity.note else ())


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
        headers=tuple(Header(each.header, each.numeric, tuple(_notes(each, frame))) for each in shown),
        rows=tuple(rows),
        notes=(
            *_not_measured(shown if columns and list(columns) != ["all"] else (), frame),
            *(f"[{mark}] published: {source}" for source, mark in marks.items()),
        ),
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


def _notes(column: Column, frame: pd.DataFrame) -> Iterator[str]:
    """Yield what a reader must know of a column, and where its values come from."""
    if column.note:
        yield column.note
    if column.runs:
        yield from (
            f"{column.runs} of our runs: on {data}"
            for data in frame.loc[~frame["published"], "data"].dropna().unique()
        )
    if column.key == "batch":
        yield from (_BATCH.format(gib) for gib in frame["device_gib"].dropna().unique())
    places = frame["measured_on"].dropna().unique()
    if column.timed and len(places):
        yield f"Times measured on {'; on '.join(places)}"


def _not_measured(asked: Sequence[Column], frame: pd.DataFrame) -> list[str]:
    """Return a sentence for columns that were asked for and have no value."""
    blank = [column.header for column in asked if column.field in frame and frame[column.field].isna().all()]
    return [f"Without any value: {', '.join(blank)}"] if blank and len(frame) else []
