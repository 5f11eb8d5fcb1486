"""The networks of the coverage run, of timm and torchvision, with input sizes and timm's feature_info."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.text import RECORD, read_file
from hmhsa_insert.surgery.base.load import named_by_file

_SIDE = re.compile("[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Entry:
    """One network of the list.

    Attributes:
        source: ``timm`` or ``torchvision``; empty for a network of another library.
        name: its name there, else ``package.module:factory``.
        height, width: of its input.
        feature_info: timm's ``feature_info`` as ``{stride: (channels, module)}``; empty elsewhere.
        channels: of its input.
    """

    source: str
    name: str
    height: int
    width: int
    feature_info: dict[int, tuple[int, str]] = field(default_factory=dict)
    channels: int = 3

    @property
    def spec(self) -> str:
        """The MODEL argument that names it."""
        return f"{self.source}/{self.name}" if self.source else self.name


def entries(pattern: str = "*") -> list[Entry]:
    """Return the networks whose name, or source/name, matches a shell pattern."""
    with (Path(__file__).parent / "networks.csv").open(newline="", encoding="utf-8") as file:
        rows = [_entry(row) for row in csv.DictReader(file)]
    return [e for e in rows if fnmatchcase(e.name, pattern) or fnmatchcase(e.spec, pattern)]


def entries_of(path: Path, allow_code: bool = False) -> list[Entry]:
    """Read a list of networks: per line a MODEL argument and ``HxW`` or ``CxHxW``, by default 224x224.

    ``#`` begins a comment.

    Raises:
        HmhsaInsertError: the file cannot be read, a line is invalid, or names code without permission.
    """
    found = []
    for number, line in enumerate(read_file(path, HmhsaInsertError, RECORD).splitlines(), 1):
        spec, _, size = line.partition("#")[0].strip().partition(" ")
        if not spec:
            continue
        sides = size.strip().split("x") if size.strip() else ["224", "224"]
        if len(sides) not in (2, 3) or not all(_SIDE.fullmatch(side) for side in sides):
            message = f"'{size.strip()}' is not a size"
            raise HmhsaInsertError(
                Problem(f"{path}:{number}", message, "write 320x480 (H×W) or 1x28x28 (C×H×W)")
            )
        named_by_file(spec, f"{path}:{number}", allow_code)
        channels, height, width = (int(side) for side in ["3", *sides][-3:])
        found.append(Entry("", spec, height, width, channels=channels))
    return found


def _entry(row: dict[str, str]) -> Entry:
    info = {}
    for item in filter(None, row["feature_info"].split(";")):
        stride, channels, module = item.split(":", 2)
        info[int(stride)] = (int(channels), module)
    return Entry(row["source"], row["name"], int(row["height"]), int(row["width"]), info)
