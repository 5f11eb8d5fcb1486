"""The columns a table can have: what each shows of the frame, how it is written, and what a reader must know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hmhsa_insert.errors import Argument, Problem, near
from hmhsa_insert.quantities import QUANTITIES, ordered
from hmhsa_insert.quantity import INFERENCE, PERCENT, SCORES, TRAINING, Quantity
from hmhsa_insert.reports.frame import other_scores
from hmhsa_insert.reports.problems import ReportError

_BASE = "Δ: against the base, the first row of its group, at the same size"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: its name in ``columns``.
        header: what the table prints above it.
        field: the column of the frame it shows.
        text: writes one value; missing values are blank before it is asked.
        note: what a reader must know, printed once below the table; may be empty.
        numeric: whether it is aligned and sorted as a number.
        published_text: writes a published value, where authors print fewer digits than we know of ours.
        timed: whether it depends on where it was measured.
        runs: what a note on the data of training runs calls it, if it is a score.
    """

    key: str
    header: str
    field: str
    text: Callable[[Any], str]
    note: str = ""
    numeric: bool = True
    published_text: Callable[[Any], str] | None = None
    timed: bool = False
    runs: str = ""


# Earlier names of columns: what they called FLOPs are multiply–accumulates.
_EARLIER = {"flops": "layer_macs", "delta_flops": "delta_layer_macs"}
PAPER = ("method", "size", "params", "layer_macs", "memory", "throughput", "top1")
# The paper's tables of detectors: what each is called, and its columns.
DETECTION: dict[str, tuple[str, ...]] = {
    kind: (
        "method",
        "params",
        "layer_macs",
        *(each.key for each in QUANTITIES.values() if each.path[0] == kind),
    )
    for kind in ("box", "mask")
}


# The paper's table of segmenters: backbone, parameters, FLOPs, mIoU.
SEMANTIC = ("method", "params", "layer_macs", "miou")


def columns_of(frame: pd.DataFrame) -> dict[str, Column]:
    """Return all columns there can be for `frame`, by their keys: its scores that no row describes among them."""
    known = [*ordered("columns"), *other_scores(frame)]
    found = [
        Column("method", "Method", "method", str, numeric=False),
        Column("size", "Size", "pixels", str),
        *(_column(each) for each in known if each.header),
        *(_delta(each) for each in known if each.delta and each.layout.delta != "data"),
        Column("source", "Source", "source", str, numeric=False),
    ]
    return {column.key: column for column in found}


def _column(each: Quantity) -> Column:
    return Column(
        each.key,
        each.header,
        each.field,
        each.text,
        each.note,
        published_text=each.write_published,
        timed=_is_timed(each),
        runs=each.runs,
    )


def _delta(each: Quantity) -> Column:
    unit = ", in percentage points" if each.delta == "absolute" and each.is_percent else ""
    return Column(
        f"delta_{each.key}",
        f"Δ {each.header}",
        f"delta_{each.field}",
        each.delta_text,
        _BASE + unit + each.delta_note,
        timed=_is_timed(each),
        # Tables name the data of AP beside its difference as well, those of top-1 beside itself alone.
        runs="" if each.kind == PERCENT else each.runs,
    )


def _is_timed(each: Quantity) -> bool:
    return each.section in (INFERENCE, TRAINING)


def chosen(keys: Sequence[str] | None, frame: pd.DataFrame) -> list[Column]:
    """Return the columns called `keys`, or those of the paper's table.

    Args:
        keys: of `columns_of`, or ``all`` alone; None for the paper's: method, size, parameters, layer MACs, memory,
            throughput, top-1 and the difference in top-1, or in MACs where no two accuracies can be compared.
        frame: the rows there are.

    Raises:
        ReportError: all names that do not exist, with the nearest.
    """
    known = columns_of(frame)
    if keys is None:
        keys = (*PAPER, "delta_top1" if _is_scored(frame) else "delta_macs")
    elif list(keys) == ["all"]:
        keys = list(known)
    keys = [_EARLIER.get(key, key) for key in keys]
    if unknown := [key for key in keys if key not in known]:
        tip = f"there are {', '.join(known)}"
        raise ReportError(
            Problem(Argument("columns"), f"there is no column '{key}'", near(key, known) or tip)
            for key in unknown
        )
    return [known[key] for key in keys]


def _is_scored(frame: pd.DataFrame) -> bool:
    """Return True if two accuracies of ours can be compared, or nothing but published figures is there."""
    known = frame["delta_top1"].notna()
    return bool((known & ~frame["published"]).any() or (known.any() and frame["published"].all()))


def measured(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the tables of a profile that `frame` has figures for, each with the keys of its columns that have any.

    The first quantity of a table says whether it was measured.
    """
    sections: dict[str, list[Quantity]] = {}
    for each in ordered("section"):
        if each.header and each.section != SCORES:
            sections.setdefault(each.section, []).append(each)
    found = {}
    for title, members in sections.items():
        if frame[members[0].field].notna().any():
            known = [key for key, field in _in_section(members) if frame[field].notna().any()]
            found[title] = ["method", "size", *known]
    return found


def _in_section(members: Iterable[Quantity]) -> list[tuple[str, str]]:
    """Return the keys and fields of a section's columns; differences follow the quantities of their rank."""
    found = [(each.layout.section, False, each.key, each.field) for each in members]
    found += [
        (each.layout.section, True, f"delta_{each.key}", f"delta_{each.field}")
        for each in members
        if each.delta and each.layout.delta == "section"
    ]
    return [(key, field) for _, _, key, field in sorted(found, key=lambda row: row[:2])]
