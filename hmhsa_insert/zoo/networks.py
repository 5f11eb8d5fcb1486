"""The networks of the coverage run: timm's and torchvision's, with their input sizes and timm's own reading."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One network of the list.

    Attributes:
        source: ``timm`` or ``torchvision``.
        name: its name there.
        height, width: of its input.
        feature_info: timm's ``feature_info`` as ``{stride: (channels, module)}``; empty for torchvision.
    """

    source: str
    name: str
    height: int
    width: int
    feature_info: dict[int, tuple[int, str]]

    @property
    def spec(self) -> str:
        """The MODEL argument that names it."""
        return f"{self.source}/{self.name}"


def entries(pattern: str = "*") -> list[Entry]:
    """Return the networks whose name, or source/name, matches a shell pattern."""
    with (Path(__file__).parent / "networks.csv").open(newline="", encoding="utf-8") as file:
        rows = [_entry(row) for row in csv.DictReader(file)]
    return [e for e in rows if fnmatchcase(e.name, pattern) or fnmatchcase(e.spec, pattern)]


def _entry(row: dict[str, str]) -> Entry:
    info = {}
    for item in filter(None, row["feature_info"].split(";")):
        stride, channels, module = item.split(":", 2)
        info[int(stride)] = (int(channels), module)
    return Entry(row["source"], row["name"], int(row["height"]), int(row["width"]), info)
