"""The tables that an evaluation prints: one row per network, and what a task does not say itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hmhsa_insert.files.numbers import big
from hmhsa_insert.tables import Cell, Header, Table, left, right

# What `evaluate` says of every network; the other keys of a row are scores.
_COMMON = ("name", "num_params", "macs", "images", "images_per_s", "damaged", "unseen", "notes")


def score_table(
    rows: Sequence[Mapping[str, Any]],
    source: str,
    headers: Iterable[Header],
    scores: Iterable[Sequence[Cell]],
) -> Table:
    """Return name, costs, scores and speed of each network.

    Args:
        rows: as :meth:`~hmhsa_insert.training.task.Task.tables` takes them.
        source: what the networks were scored on.
        headers: of the scores.
        scores: of each network, in the order of `headers`.
    """
    cells = [
        (row["name"], big(row["num_params"]), big(row["macs"]), *values, f"{row['images_per_s']:.0f}")
        for row, values in zip(rows, scores, strict=True)
    ]
    unseen = ", none of them trained on" if all(row.get("unseen") for row in rows) else ""
    title = f"{source}: {rows[0]['images']:,} images{unseen}"
    heads = [left(), right("params"), right("MACs"), *headers, right("images/s")]
    return Table.of(title, heads, cells, damaged_notes(rows))


def any_scores(rows: Sequence[Mapping[str, Any]], source: str) -> Table:
    """Return costs and every score of each network, for a task without tables of its own."""
    names = [name for name in rows[0] if name not in _COMMON]
    scores = [["–" if row[name] is None else f"{row[name]:.4g}" for name in names] for row in rows]
    return score_table(rows, source, map(right, names), scores)


def damaged_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a note for each network whose data has damaged images."""
    return [
        f"{row['name']}: {len(row['damaged'])} damaged images left out: {row['damaged'][0]} …"
        for row in rows
        if row["damaged"]
    ]
