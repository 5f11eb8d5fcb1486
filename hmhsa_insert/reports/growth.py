"""How cost grows with the image: where a network is linear in its pixels, and where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd

from hmhsa_insert.quantities import ordered
from hmhsa_insert.quantity import Quantity, significant
from hmhsa_insert.reports.frame import as_records, size_label
from hmhsa_insert.tables import Header, Table, TableCell, TableRow

# Cost may grow this much faster than the pixels and still be called linear: borders and the classifier's share.
LINEAR = 1.05


def growth_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how each method grows from one size to its next larger one.

    Args:
        frame: the tidy frame, with methods at several sizes.

    Returns:
        A row per method and pair of neighbouring sizes: ``method``, ``group``, ``from_size``, ``to_size``, and the
        factor of ``pixels`` and of each quantity that grows, by its field; missing where it was not measured.
    """
    rows, names = [], ["pixels", *(each.field for each in _growing())]
    for sizes in _by_method(frame):
        for small, large in pairwise(sizes[pixels] for pixels in sorted(sizes)):
            row = {key: _factor(small[key], large[key]) for key in names}
            places = {"method": large["method"], "group": large["group"]}
            labels = [size_label(entry["height"], entry["width"]) for entry in (small, large)]
            rows.append({**places, "from_size": labels[0], "to_size": labels[1], **row})
    columns = ["method", "group", "from_size", "to_size", *names]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(names, "Float64"))


def _growing() -> list[Quantity]:
    return [each for each in ordered("data") if each.grows]


def _by_method(frame: pd.DataFrame) -> Iterable[dict[int, dict[str, Any]]]:
    """Return the first measured row of each method at each number of pixels, by that number."""
    measured = frame.assign(pixels=frame["height"] * frame["width"]).loc[~frame["published"]]
    found: dict[str, dict[int, dict[str, Any]]] = {}
    # All rows at once: a frame for each method costs more than all that is done with it.
    for entry in as_records(measured):
        found.setdefault(entry["method"], {}).setdefault(entry["pixels"], entry)
    return found.values()


def growth_table(frame: pd.DataFrame, title: str = "Growth with the image") -> Table:
    """Return the growth of every method in `frame` as a table; without rows where all have one size.

    Args:
        frame: the tidy frame, with methods at several sizes.
        title: what stands above it.
    """
    rows = []
    for record in as_records(growth_frame(frame)):
        factors = [
            TableCell("" if value is None else significant(value), value) for value in _factors(record)
        ]
        steps = TableCell(f"{record['from_size']} → {record['to_size']}", record["to_size"])
        verdict = _verdict(record["pixels"], record["macs"])
        rows.append(
            TableRow(
                (TableCell(record["method"], record["method"]), steps, *factors, verdict), record["group"]
            )
        )
    texts = ("Method", "Size", "× Pixels", *(f"× {each.header}" for each in _growing()), "In pixels")
    headers = tuple(Header(text, text.startswith("×")) for text in texts)
    note = f"In pixels: #MACs are linear where they grow at most {LINEAR - 1:.0%} faster than the pixels"
    return Table(title, headers, tuple(rows), (note,) if rows else ())


def _factors(record: dict[str, float | None]) -> list[float | None]:
    return [record[key] for key in ("pixels", *(each.field for each in _growing()))]


def _factor(small: float | None, large: float | None) -> float | None:
    return None if small is None or large is None or not small else large / small


def _verdict(pixels: float, macs: float | None) -> TableCell:
    if macs is None:
        return TableCell("", None)
    text = "linear" if macs <= LINEAR * pixels else "faster"
    return TableCell(text, text)
