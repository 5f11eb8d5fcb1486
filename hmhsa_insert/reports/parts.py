"""Where a network's cost is: by stage and inserted block, in rows that add up to its total exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from hmhsa_insert.reports.columns import COLUMNS, counted
from hmhsa_insert.reports.frame import as_records, size_label
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.reports.table import Cell, Header, Row, Table

_COUNTS = ("num_params", "macs", "macs_modules_only", "activations")
_SHOWN = {"num_params": "params", "macs": "macs", "saved_bytes_per_image": "memory"}
REST = "elsewhere"


def parts_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return the cost of the parts of every profile in `records`.

    A profile says its parts as ``{"parts": {name: [qualified names of modules]}}``: a module belongs to the part that
    names it or its nearest ancestor, whatever nobody names to ``"elsewhere"``, the last part. Without parts, the
    children of the model are its parts.

    Returns:
        A row per method, size and part: ``method``, ``group``, ``height``, ``width``, ``part``, ``num_params``,
        ``macs``, ``macs_modules_only``, ``activations`` and ``saved_bytes_per_image`` (missing where memory was not
        measured). Parts without any cost are left out. Over the parts of a profile each adds up to the profile's
        total.
    """
    rows = [row for record in records if record["kind"] == "profile" for row in _of_profile(record)]
    columns = ["method", "group", "height", "width", "part", *_COUNTS, "saved_bytes_per_image"]
    kinds = {**dict.fromkeys(_COUNTS, "Int64"), "saved_bytes_per_image": "Float64"}
    return pd.DataFrame(rows, columns=columns, dtype=object).astype(kinds)


def parts_table(parts: pd.DataFrame, title: str = "Where it is spent") -> Table:
    """Return `parts` (see :func:`parts_frame`) as a table, each profile closed by its total.

    Args:
        parts: the frame of parts.
        title: what stands above it.
    """
    rows = []
    for (method, height, width), members in parts.groupby(["method", "height", "width"], sort=False):
        sums = members[list(_SHOWN)].sum(min_count=1)
        total = {"part": "total", "method": method, "height": height, "width": width, **sums}
        entries = [*as_records(members), *as_records(pd.DataFrame([total]))]
        rows += [_row(entry, total["macs"], f"{method}@{height}×{width}") for entry in entries]
    shown = [COLUMNS[key] for key in _SHOWN.values()]
    headers = [Header(text, False) for text in ("Method", "Part")]
    headers += [Header(text, True) for text in ("Size", *(column.header for column in shown), "MACs share")]
    return Table(title, tuple(headers), tuple(rows), tuple(column.note for column in shown if column.note))


def parts_tables(parts: pd.DataFrame) -> list[Table]:
    """Return `parts` as one narrow table for each profile, the notes below the last.

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
    return [*(replace(table, notes=()) for table in tables[:-1]), *tables[-1:]]


def _of_profile(record: Record) -> Iterable[dict[str, Any]]:
    """Yield one row per part: as the record lists them, else as their first modules come; the rest is last."""
    named = {module: part for part, modules in (record.get("parts") or {}).items() for module in modules}
    memory = record.get("memory") or {}
    _, height, width = record["input_size"]
    whole = {"method": record["name"], "group": record.get("group") or record["name"]}
    sums: dict[str, dict[str, Any]] = {part: dict.fromkeys(_COUNTS, 0) for part in record.get("parts") or {}}
    for module in record.get("by_module") or ():
        row = sums.setdefault(_part(module["name"], named), dict.fromkeys(_COUNTS, 0))
        for key in _COUNTS:
            row[key] += module[key]
    for module_name, saved in memory.get("by_module", {}).items():
        row = sums.setdefault(_part(module_name, named), dict.fromkeys(_COUNTS, 0))
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


def _row(entry: Mapping[str, Any], total_macs: int, group: str) -> Row:
    cells = [Cell(entry["method"], entry["method"]), Cell(entry["part"], entry["part"])]
    cells.append(Cell(size_label(entry["height"], entry["width"]), float(entry["height"] * entry["width"])))
    for field, key in _SHOWN.items():
        value = entry[field]
        write = COLUMNS[key].text if key == "memory" else counted
        cells.append(Cell("", None) if value is None else Cell(write(value), float(value)))
    share = entry["macs"] / total_macs if total_macs else 0.0
    cells.append(Cell(f"{share:.1%}", share))
    return Row(tuple(cells), group)
