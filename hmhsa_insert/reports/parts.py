"""Where a network's cost is: by stage and inserted block, in rows that add up to its total exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from hmhsa_insert.quantities import ordered
from hmhsa_insert.quantity import COUNTS, Quantity
from hmhsa_insert.reports.frame import as_records, size_label
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.reports.table import quantity_header
from hmhsa_insert.tables import Header, Table, TableCell, TableRow

REST = "elsewhere"


def parts_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return the cost of the parts of every profile in `records`.

    A profile says its parts as ``{"parts": {name: [qualified names of modules]}}``: a module belongs to the part that
    names it or its nearest ancestor, whatever nobody names to ``"elsewhere"``, the last part. Without parts, the
    children of the model are its parts.

    Returns:
        A row per method, size and part: ``method``, ``group``, ``height``, ``width``, ``part``, and each quantity that
        parts have, by its field (that of memory is missing where it was not measured). Parts without any cost are
        left out. Over the parts of a profile each adds up to the profile's total.
    """
    rows = [row for record in records if record["kind"] == "profile" for row in _of_profile(record)]
    kinds = {each.field: each.kind.dtype for each in _of_parts()}
    columns = ["method", "group", "height", "width", "part", *kinds]
    return pd.DataFrame(rows, columns=columns, dtype=object).astype(kinds)


def _of_parts() -> list[Quantity]:
    return [each for each in ordered("data") if each.parts]


def parts_table(parts: pd.DataFrame, title: str = "Where it is spent") -> Table:
    """Return `parts` (see :func:`parts_frame`) as a table, each profile closed by its total.

    Args:
        parts: the frame of parts.
        title: what stands above it.
    """
    rows, shown = [], [each for each in _of_parts() if each.parts == "table"]
    for (method, height, width), members in parts.groupby(["method", "height", "width"], sort=False):
        sums = members[[each.field for each in shown]].sum(min_count=1)
        total = {"part": "total", "method": method, "height": height, "width": width, **sums}
        entries = [*as_records(members), *as_records(pd.DataFrame([total]))]
        rows += [_row(entry, shown, total["macs"], f"{method}@{height}×{width}") for entry in entries]
    headers = [Header(text, False) for text in ("Method", "Part")]
    headers += [Header("Size", True), *map(quantity_header, shown), Header("MACs share", True)]
    return Table(title, tuple(headers), tuple(rows))


def parts_tables(parts: pd.DataFrame) -> list[Table]:
    """Return `parts` as one narrow table for each profile, the notes of columns below the last.

    Args:
        parts: the frame of parts.
    """
    tables = []
    for _, members in parts.groupby(["method", "height", "width"], sort=False):
        first = as_records(members)[0]
        size = size_label(first["height"], first["width"])
        whole = parts_table(members, f"Where it is spent: {first['method']} at {size}")
        kept = [place for place, header in enumerate(whole.headers) if header.text not in ("Method", "Size")]
        rows = (replace(row, cells=tuple(row.cells[place] for place in kept)) for row in whole.rows)
        headers = tuple(whole.headers[place] for place in kept)
        tables.append(replace(whole, headers=headers, rows=tuple(rows)))
    return [*map(_without_notes, tables[:-1]), *tables[-1:]]


def _without_notes(table: Table) -> Table:
    return replace(table, headers=tuple(replace(header, notes=()) for header in table.headers))


def _of_profile(record: Record) -> Iterable[dict[str, Any]]:
    """Yield one row per part: as the record lists them, else as their first modules come; the rest is last."""
    named = {module: part for part, modules in (record.get("parts") or {}).items() for module in modules}
    memory = record.get("memory") or {}
    _, height, width = record["input_size"]
    whole = {"method": record["name"], "group": record.get("group") or record["name"]}
    counts = [each.field for each in _of_parts() if each.section == COUNTS]
    sums: dict[str, dict[str, Any]] = {part: dict.fromkeys(counts, 0) for part in record.get("parts") or {}}
    for module in record.get("by_module") or ():
        row = sums.setdefault(_part(module["name"], named), dict.fromkeys(counts, 0))
        for key in counts:
            row[key] += module[key]
    for module_name, saved in memory.get("by_module", {}).items():
        row = sums.setdefault(_part(module_name, named), dict.fromkeys(counts, 0))
        row["saved"] = row.get("saved", 0) + saved
    for part, row in sorted(sums.items(), key=lambda item: item[0] == REST):
        if not any(row.values()):
            continue
        per_image = row.pop("saved", 0) / memory["batch"] if memory else None
        yield {
            **whole,
            "height": height,
            "width": width,
            "part": part,
            **row,
            "saved_bytes_per_image": per_image,
        }


def _part(module: str, named: Mapping[str, str]) -> str:
    """Return the part `module` belongs to: that of its nearest named ancestor, itself included."""
    if not named:
        return module.partition(".")[0] or REST
    names = module.split(".")
    ancestors = (".".join(names[:count]) for count in range(len(names), 0, -1))
    return next((named[name] for name in ancestors if name in named), named.get("", REST))


def _row(entry: Mapping[str, Any], shown: Iterable[Quantity], total_macs: int, group: str) -> TableRow:
    cells = [TableCell(entry["method"], entry["method"]), TableCell(entry["part"], entry["part"])]
    cells.append(
        TableCell(size_label(entry["height"], entry["width"]), float(entry["height"] * entry["width"]))
    )
    for each in shown:
        value = entry[each.field]
        cells.append(
            TableCell("", None) if value is None else TableCell(each.small_text(value), float(value))
        )
    share = entry["macs"] / total_macs if total_macs else 0.0
    cells.append(TableCell(f"{share:.1%}", share))
    return TableRow(tuple(cells), group)
