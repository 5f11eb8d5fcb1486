"""The one tidy frame behind every table and plot: a row per method and image size, a column per quantity.

Quantities are in base units, unrounded, and missing where nobody measured them. A group is named after its base: the
method the others are compared with. Differences are to its row at the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from hmhsa_insert.reports.sources import Record

# Column of the frame -> its type, and the path to its value in a record.
_COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "method": ("string", ("name",)),
    "group": ("string", ("group",)),
    "height": ("Int64", ()),
    "width": ("Int64", ()),
    "num_params": ("Int64", ("num_params",)),
    "num_trainable": ("Int64", ("num_trainable",)),
    "macs": ("Int64", ("macs",)),
    "macs_modules_only": ("Int64", ("macs_modules_only",)),
    "activations": ("Int64", ("activations",)),
    "saved_bytes_per_image": ("Float64", ("memory", "saved_bytes_per_image")),
    "largest_batch": ("Int64", ("memory", "largest_batch")),
    "device_gib": ("Float64", ()),
    "peak_bytes": ("Int64", ("memory", "peak", "allocated")),
    "latency_ms": ("Float64", ("inference", "latency_ms")),
    "latency_p10_ms": ("Float64", ("inference", "p10_ms")),
    "latency_p90_ms": ("Float64", ("inference", "p90_ms")),
    "images_per_s": ("Float64", ("inference", "images_per_s")),
    "time_ratio": ("Float64", ("inference", "time_ratio")),
    "train_latency_ms": ("Float64", ("training", "latency_ms")),
    "train_latency_p10_ms": ("Float64", ("training", "p10_ms")),
    "train_latency_p90_ms": ("Float64", ("training", "p90_ms")),
    "train_images_per_s": ("Float64", ("training", "images_per_s")),
    "train_time_ratio": ("Float64", ("training", "time_ratio")),
    "top1": ("Float64", ("top1",)),
    **{
        f"{kind}_{name.lower()}": ("Float64", (kind, name))
        for kind in ("box", "mask")
        for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    },
    "data": ("string", ("data",)),
    "published": ("boolean", ()),
    "source": ("string", ("source",)),
    "measured_on": ("string", ()),
}
# Quantities whose difference to the base row is relative; that of a score is what one has more.
_RELATIVE = ("num_params", "macs", "macs_modules_only", "activations", "saved_bytes_per_image", "peak_bytes")
_SCORES = ("top1", "box_ap", "mask_ap")
_PLACE = ("method", "published", "height", "width")
_PAIRED = {"latency_ms": "time_ratio", "train_latency_ms": "train_time_ratio"}


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """Return the frame of `records`: profiles, training runs and published figures, in any mix.

    Records of one method at one size are one row: a profile gives its cost, a training run its accuracy. One that
    contradicts what is known (another device, another seed) is a row of its own. Groups and methods keep the order of
    the records; the base leads its group, small images come first. Besides the quantities there is ``delta_X`` for
    each that can be compared: relative to the base row (0.05 is 5 % more), scores in their own unit (top-1 in
    percent, AP as a share) and on the same data only.

    Args:
        records: mappings as `ProfileRecord.as_dict` and :func:`published_records` give them.
    """
    rows: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in map(_row, records):
        others = alike.setdefault(tuple(row[name] for name in _PLACE), [])
        known = next((other for other in others if _is_same(other, row)), None)
        if known is None:
            rows.append(row)
            others.append(row)
        else:
            known.update({name: value for name, value in row.items() if value is not None})
    for row in rows:
        # A method nobody grouped is a group by itself; published figures are compared with nothing of ours.
        row["group"] = row["group"] or (f"published: {row['source']}" if row["published"] else row["method"])
    ordered = sorted(rows, key=_order(rows))
    # As objects first: a column of integers with a gap would pass through floats.
    frame = pd.DataFrame(ordered, columns=list(_COLUMNS), dtype=object)
    return _with_deltas(frame.astype({name: kind for name, (kind, _) in _COLUMNS.items()}))


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


def _row(record: Record) -> dict[str, Any]:
    row = {name: _at(record, path) if path else None for name, (_, path) in _COLUMNS.items()}
    _, row["height"], row["width"] = record["input_size"]
    row["device_gib"] = record.get("device_gib") if row["largest_batch"] is not None else None
    row["published"] = record["kind"] == "published"
    row["measured_on"] = _measured_on(record)
    return row


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


def _with_deltas(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a ``delta_X`` column for each quantity that can be compared with the base row."""
    place = ["group", "height", "width"]
    is_base = (frame["method"] == frame["group"]) & ~frame["published"]
    quantities = list(_RELATIVE)
    # Not groupby.first: it would pass over a base whose value is missing, and take another row's.
    bases = frame.loc[is_base, place + quantities].drop_duplicates(place)
    base = frame[place].merge(bases, how="left", on=place, validate="m:1")
    compared = ~is_base & ~frame["published"]
    for name in _RELATIVE:
        ratio = frame[name].astype("Float64") / base[name].astype("Float64")
        frame[f"delta_{name}"] = (ratio - 1).where(compared & (base[name] != 0))
    for name, paired in _PAIRED.items():
        frame[f"delta_{name}"] = (frame[paired] - 1).where(compared)
    # A run of the base on the same data, which may be another row than the one its cost is known from.
    place.append("data")
    for name in _SCORES:
        runs = frame.loc[is_base & frame[name].notna(), [*place, name]].drop_duplicates(place)
        reached = frame[place].merge(runs, how="left", on=place, validate="m:1")[name]
        frame[f"delta_{name}"] = (frame[name] - reached).where(compared)
    return frame
