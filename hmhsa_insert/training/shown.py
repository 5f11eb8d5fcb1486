"""What an evaluation shows on a terminal: tables of texts, which a command prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hmhsa_insert.files.numbers import big


class Shown(NamedTuple):
    """A table of texts for the terminal; the first column is set left, the others right.

    Attributes:
        title: above it.
        headers: of its columns.
        rows: its cells; a row of one cell is a remark.
        lines: below it.
    """

    title: str
    headers: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[str] = ()


def score_table(rows: Sequence[Mapping[str, Any]], source: str) -> list[Shown]:
    """Return costs and every score of each network, for a task without tables of its own."""
    common = ("name", "num_params", "macs", "images", "images_per_s", "damaged", "unseen", "notes")
    names = [name for name in rows[0] if name not in common]
    cells = []
    for row in rows:
        scores = ["–" if row[name] is None else f"{row[name]:.4g}" for name in names]
        cells.append([row["name"], big(row["num_params"]), big(row["macs"]), *scores, speed(row)])
        cells += remarks(row)
    headers = ("", "params", "MACs", *names, "images/s")
    return [Shown(f"{source}: {rows[0]['images']:,} images{seen(rows)}", headers, cells)]


def seen(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what a table's title says of images that no network was trained on."""
    return ", none of them trained on" if all(row.get("unseen") for row in rows) else ""


def speed(row: Mapping[str, Any]) -> str:
    """Return images per second as text."""
    return f"{row['images_per_s']:.0f}"


def remarks(row: Mapping[str, Any]) -> list[list[str]]:
    """Return the line below a network's row that names damaged images, if there are any."""
    damaged = row["damaged"]
    return [[f"  {len(damaged)} damaged images left out: {damaged[0]} …"]] if damaged else []
