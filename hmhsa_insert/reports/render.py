"""From records to the text of a report in one of its formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import pandas as pd

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.reports.columns import measured
from hmhsa_insert.reports.data import to_csv, to_json
from hmhsa_insert.reports.findings import findings
from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.growth import growth_table
from hmhsa_insert.reports.latex import to_latex
from hmhsa_insert.reports.markdown import to_markdown
from hmhsa_insert.reports.parts import parts_frame, parts_table, parts_tables
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.reports.table import Table, make_table
from hmhsa_insert.reports.tasks import task_tables

Format = Literal["md", "latex", "csv", "json", "html"]
FORMATS: tuple[str, ...] = get_args(Format)
_SUFFIXES = {
    "md": "md",
    "markdown": "md",
    "tex": "latex",
    "csv": "csv",
    "json": "json",
    "html": "html",
    "htm": "html",
}


def render(
    records: Iterable[Record],
    how: Format,
    *,
    columns: Sequence[str] | None = None,
    title: str = "",
    parts: bool = False,
    sections: bool = False,
) -> str:
    """Return the report of `records` as text.

    Markdown and LaTeX hold the table of methods, a table of growth where a method comes at several sizes, and a table
    of parts on request; HTML adds the plots; CSV and JSON are the tidy frame, all of it, whatever `columns` are.

    Args:
        records: profiles, training runs and published figures.
        how: the format.
        columns: keys of `hmhsa_insert.reports.columns.COLUMNS`; by default the paper's.
        title: what stands above it.
        parts: also show where in the networks the cost is.
        sections: in place of one table of `columns`, one for each kind of cost that was measured.

    Raises:
        ReportError: a column does not exist.
    """
    records = list(records)
    frame = tidy(records)
    if how == "csv":
        return to_csv(frame)
    if how == "json":
        return to_json(frame)
    where = parts_frame(records if parts else [])
    if how == "html":  # a table that sorts is best whole
        tables = report_tables(records, columns=columns, title=title, sections=sections)
        return _page(frame, where, tables, title)
    tables = report_tables(records, columns=columns, title=title, parts=parts, sections=sections)
    write = to_markdown if how == "md" else to_latex
    return "\n".join(map(write, tables))


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
    frame = tidy(records)
    if sections:
        tables = [make_table(frame, keys, heading) for heading, keys in measured(frame).items()]
    else:
        tables = [make_table(frame, columns, title)] if columns else task_tables(frame, title)
    growth = growth_table(frame)
    if growth.rows:
        tables.append(growth)
    tables += parts_tables(parts_frame(records if parts else []))
    last = tables[-1]
    return [*tables[:-1], replace(last, notes=(*last.notes, *findings(records)))]


def format_of(file_name: str) -> Format:
    """Return the format that the ending of `file_name` asks for.

    Raises:
        ReportError: there is none.
    """
    suffix = file_name.rpartition(".")[2].lower()
    if suffix not in _SUFFIXES:
        tip = near(suffix, _SUFFIXES) or f"endings: {', '.join(_SUFFIXES)}"
        raise ReportError(Problem(file_name, "its ending names no format", tip))
    found: Format = _SUFFIXES[suffix]  # type: ignore[assignment]
    return found


def _page(frame: pd.DataFrame, where: pd.DataFrame, tables: list[Table], title: str) -> str:
    """Return the page: tables, plots, and the parts last, because there can be a thousand of them."""
    # Imported here: matplotlib takes longer than everything else, and tables do without it.
    from hmhsa_insert.reports.html import to_html
    from hmhsa_insert.reports.plots import against_macs, against_size, part_bars

    plots = [
        against_macs(frame, "top1", "ImageNet top-1 (%)"),
        against_macs(frame, "saved_bytes_per_image", "Saved for backward (MiB per image)"),
        against_size(frame, "saved_bytes_per_image", "Saved for backward (MiB per image)"),
        against_size(frame, "macs", "GMACs, attention included"),
        part_bars(where),
    ]
    last = [] if where.empty else [parts_table(where)]
    return to_html(title or "Report", [*tables, *(plot for plot in plots if plot), *last])
