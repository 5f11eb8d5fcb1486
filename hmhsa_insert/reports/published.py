"""What others published, each row with its source: the paper's networks, and blocks under one training each."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from importlib import resources

from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.reports.table import make_table
from hmhsa_insert.tables import Table

_COLUMNS = ("method", "size", "params", "layer_macs", "macs", "top1", "delta_top1")
TITLE = "what others published"


def published_records() -> list[Record]:
    """Return the authors' published figures of the paper's networks, each with its source.

    Each has the ``preset`` that is the same network, beside which a report may show it.
    """
    return [
        {
            "kind": "published",
            "name": row["method"],
            "preset": row["method"].lower().replace("-", "_"),
            "input_size": [3, int(row["size"]), int(row["size"])],
            "num_params": _scaled(row["params_m"], 1e6),
            # Papers print multiply–accumulates of convolution and linear layers under FLOPs.
            "macs_modules_only": _scaled(row["flops_g"], 1e9),
            "top1": float(row["top1"]) if row["top1"] else None,
            "source": row["source"],
        }
        for row in _rows("published.csv")
    ]


def literature_records() -> list[Record]:
    """Return networks of timm with and without a block, their top-1 as published and their costs as we count them.

    A group is one network under one training, and is named after the network without a block, which some do not have:
    differences are within a group. ``benchmarks/published.py`` counts.
    """
    return [
        {
            "kind": "published",
            "name": row["model"],
            "group": f"{row['base']}.{row['recipe']}_in1k",
            "input_size": [3, int(row["size"]), int(row["size"])],
            **{name: int(row[name]) for name in ("num_params", "macs", "macs_modules_only")},
            "top1": float(row["top1"]),
            "source": f"{row['source']}: top-1 alone; sizes are counted here. The end of a name is the training; a "
            "difference is to the network without the block, same training",
        }
        for row in _rows("literature.csv")
    ]


def published_table() -> Table:
    """Return all that others published as one table, to stand below what was measured."""
    return make_table(tidy([*published_records(), *literature_records()]), _COLUMNS, TITLE)


def _rows(file: str) -> Iterator[Mapping[str, str]]:
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


def _scaled(text: str, unit: float) -> int | None:
    return round(float(text) * unit) if text else None
