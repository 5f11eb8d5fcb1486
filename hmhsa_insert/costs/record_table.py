"""The tables of one profile, from its record as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.tables import Table, left, right


def cost_tables(record: Mapping[str, Any]) -> list[Table]:
    """Return a row per quantity that was measured and has a place in tables, with what it means.

    Args:
        record: as a profile's ``as_dict`` gives it.
    """
    rows, notes = [], []
    for quantity in QUANTITIES.values():
        value = _at(record, quantity)
        if quantity.header and value is not None:
            rows.append((quantity.header, quantity.small_text(value)))
            notes.append(quantity.note)
    unknown = ", ".join(record["unknown_ops"])
    notes += [record["crosscheck"]["finding"], *record["conventions"]]
    notes += [f"not counted, for want of a formula: {unknown}"] if unknown else []
    title = f"{record['name']} at {record['inputs']}"
    return [Table.of(title, [left("quantity"), right("value")], rows, dict.fromkeys(filter(None, notes)))]


def _at(record: Mapping[str, Any], quantity: Quantity) -> float | None:
    value: Any = record
    for key in quantity.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None
