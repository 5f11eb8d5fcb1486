"""The one tidy frame behind every table and plot: a row per method and image size, a column per quantity.

Quantities are in base units, unrounded, and missing where nobody measured them. A group is named after its base: the
method the others are compared with. Differences are to its row at the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from hmhsa_insert.quantities import QUANTITIES, by_field, other_score, score
from hmhsa_insert.quantity import SCORES, Quantity
from hmhsa_insert.reports.sources import Record

# Columns that are no quantity -> their types: those before the quantities, and those after them.
_FIRST = {"method": "string", "group": "string", "height": "Int64", "width": "Int64"}
_LAST = {"data": "string", "published": "boolean", "source": "string", "measured_on": "string"}
_PLACE = ("method", "published", "height", "width")


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Return the frame of `records`: profiles, training runs and published figures, in any mix.

    Records of one method at one size are one row: a profile gives its cost, a training run its accuracy. One that
    contradicts what is known (another device, another seed) is a row of its own. Groups and methods keep the order of
    the records; the base leads its group, small images come first. Besides the quantities there is ``delta_X`` for
    each that can be compared: relative to the base row (0.05 is 5 % more), scores in their own unit (top-1 in
    percent, AP as a share) and on the same data only. Scores that no row of `QUANTITIES` describes have a column, too.

    Args:
        records: mappings as `ProfileRecord.as_dict` and :func:`published_records` give them.
    """
    records = list(records)
    quantities = [*by_field().values(), *_without_row(records)]
    rows: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in (_row(record, quantities) for record in records):
        others = alike.setdefault(tuple(row[name] for name in _PLACE), [])
        known = next((other for other in others if _is_same(other, row)), None)
        if known is None:
            rows.append(row)
            others.append(row)
        else:
            known.update({name: value for name, value in row.items() if value is not None})
    for row in rows:
        # A method nobody grouped is a group by itself, and figures of one source are one.
        row["group"] = row["group"] or (f"published: {row['source']}" if row["published"] else row["method"])
    ordered = sorted(rows, key=_order(rows))
    # As objects first: a column of integers with a gap would pass through floats.
    kinds = _FIRST | {each.field: each.kind.dtype for each in quantities} | _LAST
    frame = pd.DataFrame(ordered, columns=list(kinds), dtype=object).astype(kinds)
    return _with_deltas(frame, [each for each in quantities if each.delta])


def _without_row(records: Iterable[Record]) -> list[Quantity]:
    """Return the scores of `records` that the table of quantities does not have, as they first come."""
    names = dict.fromkeys(name for record in records for name in record.get("scores") or ())
    found = map(score, names)
    return [each for each in found if each.key not in QUANTITIES]


def other_scores(frame: pd.DataFrame) -> list[Quantity]:
    """Return the scores among the columns of a tidy frame that the table of quantities does not have."""
    known = {*_FIRST, *_LAST, *by_field()}
    names = [str(name) for name in frame.columns if name not in known]
    return [other_score(name) for name in names if not name.startswith("delta_")]


def _is_same(known: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Return True if `row` contradicts nothing in `known`, which is about the same method and size."""
    return all(known[name] in (None, value) for name, value in row.items() if value is not None)


def _order(rows: list[dict[str, Any]]) -> Callable[[dict[str, Any]], tuple[int, bool, int, int]]:
    """Return a sort key: groups and methods as they first come, the base first in its group, small images first."""
    groups, methods = (
        {name: place for place, name in enumerate(dict.fromkeys(row[key] for row in rows))}
        for key in ("group", "method")
    )
    return lambda row: (
        groups[row["group"]],
        row["method"] != row["group"],
        methods[row["method"]],
        row["height"] * row["width"],
    )


def size_label(height: int, width: int) -> str:
    """Return ``"224"`` for a square image, ``"320×480"`` (height × width) otherwise."""
    return str(height) if height == width else f"{height}×{width}"


def as_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `frame` as plain data, with None for what is missing."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.astype(object).to_dict(orient="records")
    ]


def _row(record: Record, quantities: Iterable[Quantity]) -> dict[str, Any]:
    _, height, width = record["input_size"]
    row: dict[str, Any] = {"method": record["name"], "group": record.get("group")}
    row |= {"height": height, "width": width}
    row |= {each.field: value_of(record, each) for each in quantities}
    row["device_gib"] = row["device_gib"] if row["largest_batch"] is not None else None
    row |= {"data": record.get("data"), "published": record["kind"] == "published"}
    return row | {"source": record.get("source"), "measured_on": _measured_on(record)}


def value_of(record: Record, quantity: Quantity) -> Any:
    """Return a quantity of a record; None where it has none."""
    value = _at(record, quantity.path)
    if value is None and quantity.section == SCORES:
        return _at(record, ("scores", quantity.key))
    return value


def _at(record: Record, path: Iterable[str]) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _measured_on(record: Record) -> str | None:
    """Return where the latency of a profile was measured, in one line."""
    timed = record.get("inference") or record.get("training")
    where = record.get("environment")
    if not timed or not where:
        return None
    device = where["cpu"] if where["device"] == "cpu" else where["device"]
    parts = [f"{device}, {where['threads']} threads", f"torch {where['versions']['torch']}", where["dtype"]]
    parts += ["channels-last"] * where["channels_last"] + ["compiled"] * where["compiled"]
    return ", ".join([*parts, f"batch {timed['batch']}", f"{timed['clock']} time"])


def _with_deltas(frame: pd.DataFrame, quantities: list[Quantity]) -> pd.DataFrame:
    """Add a ``delta_X`` column for each quantity that can be compared with the base row.

    Published figures are compared with published ones.
    """
    place = ["group", "height", "width", "published"]
    is_base = frame["method"] == frame["group"]
    relative = [each.field for each in quantities if each.delta == "relative" and not each.ratio]
    # Not groupby.first: it would pass over a base whose value is missing, and take another row's.
    bases = frame.loc[is_base, place + relative].drop_duplicates(place)
    base = frame[place].merge(bases, how="left", on=place, validate="m:1")
    for each in quantities:
        name = each.field
        if each.ratio:
            delta = frame[each.ratio] - 1
        elif each.delta == "relative":
            ratio = frame[name].astype("Float64") / base[name].astype("Float64")
            delta = (ratio - 1).where(base[name] != 0)
        else:
            # A run of the base on the same data, which may be another row than the one its cost is known from.
            alike = [*place, "data"]
            runs = frame.loc[is_base & frame[name].notna(), [*alike, name]].drop_duplicates(alike)
            delta = frame[name] - frame[alike].merge(runs, how="left", on=alike, validate="m:1")[name]
        frame[f"delta_{name}"] = delta.where(~is_base)
    return frame
