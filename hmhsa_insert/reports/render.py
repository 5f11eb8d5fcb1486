"""From records to the text of a report in one of its formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.reports.columns import measured
from hmhsa_insert.reports.drawings import NetworkDrawing, network_drawings
from hmhsa_insert.reports.findings import findings
from hmhsa_insert.reports.formats import written
from hmhsa_insert.reports.frame import as_records, tidy
from hmhsa_insert.reports.growth import growth_table
from hmhsa_insert.reports.parts import parts_frame, parts_table, parts_tables
from hmhsa_insert.reports.record_context import records_context
from hmhsa_insert.reports.run_classes import class_reports
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.reports.table import make_table
from hmhsa_insert.reports.tasks import task_tables
from hmhsa_insert.tables import Table

if TYPE_CHECKING:
    from hmhsa_insert.reports.listing import Listing
    from hmhsa_insert.reports.plots import Plot


def render(
    records: Iterable[Record],
    how: str,
    *,
    columns: Sequence[str] | None = None,
    title: str = "",
    parts: bool = False,
    sections: bool = False,
) -> str:
    """Return the report of `records` as text.

    Markdown and LaTeX hold the table of methods, a table of growth where a method comes at several sizes, and a table
    of parts on request; HTML adds the plots, and the drawings that records carry. CSV and JSON are the tidy frame, all
    of it, whatever `columns` are. All but LaTeX and CSV say what made the figures.

    Args:
        records: profiles, training runs and published figures.
        how: one of :data:`hmhsa_insert.reports.formats.FORMATS`.
        columns: keys of :func:`hmhsa_insert.reports.columns.columns_of`, or ``all`` alone; by default the paper's.
        title: what stands above it.
        parts: also show where in the networks the cost is; pages always do.
        sections: in place of one table of `columns`, one for each kind of cost that was measured.

    Raises:
        ReportError: a column or the format does not exist.
    """
    return written(RecordsReport(tuple(records), columns, title, parts, sections), how)


def report_tables(
    records: Sequence[Record],
    *,
    columns: Sequence[str] | None = None,
    title: str = "",
    parts: bool = False,
    sections: bool = False,
) -> list[Table]:
    """Return the tables of :func:`render`, whose arguments these are; the last notes what needs attention.

    Parts are one table for each profile.
    """
    return RecordsReport(tuple(records), columns, title, parts, sections).tables()


@dataclass(frozen=True)
class RecordsReport:
    """What formats make a report of records from; see :func:`render` for the attributes."""

    records: Sequence[Record]
    columns: Sequence[str] | None
    title: str
    parts: bool
    sections: bool

    def tables(self) -> list[Table]:
        """Return the tables of methods and of growth, and one of parts for each profile."""
        return self._tables(parts_tables(parts_frame(self.records)) if self.parts else [])

    def page(self) -> list[Table | Plot | NetworkDrawing]:
        """Return tables, plots, drawings, and the parts last, because there can be a thousand of them."""
        # Imported here: matplotlib takes longer than everything else, and tables do without it.
        from hmhsa_insert.reports.plots import against_macs, against_size, part_bars

        frame, where = self.frame(), parts_frame(self.records)
        top1, memory, macs = (QUANTITIES[key] for key in ("top1", "memory", "macs"))
        plots = [
            against_macs(frame, top1),
            against_macs(frame, memory),
            against_size(frame, memory),
            against_size(frame, macs),
            part_bars(where),
        ]
        # A table that sorts is best whole.
        last = [] if where.empty else [parts_table(where)]
        shown = [plot for plot in plots if plot]
        drawings = network_drawings(self.records)
        return [*self._tables([]), *shown, *drawings, *last, *class_reports(self.records)]

    def context(self) -> list[Listing]:
        """Return what made the records."""
        return records_context(self.records)

    def frame(self) -> pd.DataFrame:
        """Return the tidy frame."""
        return tidy(self.records)

    def data(self) -> dict[str, Any]:
        """Return the rows of the tidy frame: ``{"rows": [{column: value}]}``."""
        return {"rows": as_records(self.frame())}

    def _tables(self, parts: list[Table]) -> list[Table]:
        frame = self.frame()
        if self.sections:
            tables = [make_table(frame, keys, heading) for heading, keys in measured(frame).items()]
        elif self.columns:
            tables = [make_table(frame, self.columns, self.title)]
        else:
            tables = task_tables(frame, self.title)
        growth = growth_table(frame)
        *others, last = [*tables, *([growth] if growth.rows else []), *parts]
        return [*others, replace(last, notes=(*last.notes, *findings(self.records)))]
