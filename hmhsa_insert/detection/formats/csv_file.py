"""CSV: a row for each object, with a header that names the columns."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hmhsa_insert.detection.formats.format import Faults, Format, Part, listed, number_of, read_lines, size_of
from hmhsa_insert.detection.layout import SPLITS
from hmhsa_insert.errors import near
from hmhsa_insert.files.text import FileLimits
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.split_names import split_name

# Column -> how it may be called. Edges are pixels from 0: a box is as wide as xmax - xmin.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file_name", "file", "path", "image_path", "image_name"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "label": ("label", "class", "class_name", "category", "name"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "split": ("split", "set", "subset"),
}
_NEEDED = ("image", "xmin", "ymin", "xmax", "ymax", "label")
_EXPECTED = f"columns: {', '.join(_NEEDED)}"
_BOX = ("xmin", "ymin", "xmax", "ymax")
_LIMITS = FileLimits(1 << 30, 100_000_000, 2, odd_names=True)
_HEADER_BYTES = 1 << 16
_DIGITS = 6  # of a pixel that are kept


@dataclass(frozen=True)
class Place:
    """One split.

    Attributes:
        root: the folder of the data set.
        path: of the file.
        split: which rows count, where the file has a column of splits; empty: all.
        name: of the split.
    """

    root: Path
    path: Path
    split: str
    name: str


class Csv(Format):
    """Boxes in a table."""

    name = "csv"
    title = "CSV"
    labels = "rows"
    layout = (
        "train.csv and val.csv, or one file with a column split; columns image, xmin, ymin, xmax, ymax, label"
    )

    def find(self, root: Path) -> Mapping[str, Place]:
        """Return where the splits lie."""
        folder = root.parent if root.is_file() else root
        paths = (
            [root]
            if root.is_file()
            else [*sorted(root.glob("*.csv")), *sorted(root.glob("*/_annotations.csv"))]
        )
        found: dict[str, Place] = {}
        for path in paths:
            columns = _columns(_header(path))
            if "image" not in columns or not columns.keys() & {*_BOX}:
                continue
            own = split_name(path.stem if path.parent == folder else path.parent.name)
            if own is not None:
                found.setdefault(own.kind, Place(folder, path, "", own.kind))
            elif "split" in columns:
                for split in SPLITS:
                    found.setdefault(split, Place(folder, path, split, split))
        return found

    def read(self, places: Mapping[str, Place], masks: bool, watch: Watch | None = None) -> dict[str, Part]:
        """Return what is in the splits."""
        faults = Faults()
        read = {split: _Split(place) for split, place in places.items()}
        for split in read.values():
            split.read(faults, watch)
        faults.report()
        names = sorted({name for split in read.values() for _, name, _ in split.objects})
        numbers = {name: number for number, name in enumerate(names, 1)}
        return {name: split.part(numbers) for name, split in read.items()}


@dataclass
class _Split:
    place: Place
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: list[tuple[int, str, list[float]]] = field(default_factory=list)
    unreadable: dict[str, None] = field(default_factory=dict)
    folder: Path | None = None

    def read(self, faults: Faults, watch: Watch | None) -> None:
        """Read the rows; what is wrong goes to `faults`."""
        lines = read_lines(self.place.path, faults, _LIMITS)
        for row in _rows(self.place.path, lines, faults):
            listed(watch, row.line, len(lines))
            said = split_name(row["split"]) if self.place.split else None
            if self.place.split and said is None:
                row.fault("split", f"{row['split'][:40]!r} is no split", "write train, val or test")
            elif said is None or said.kind == self.place.split:
                self._add(row)
        if not self.images and not self.unreadable:
            faults.add(self.place.path, f"it has no rows of the {self.place.name} split")

    def _add(self, row: _Row) -> None:
        name = row["image"].replace("\\", "/")
        path = PurePosixPath(name)
        if not path.parts or "\0" in name or path.is_absolute() or ".." in path.parts:
            row.fault(
                "image", f"{name[:80]!r} is no picture below the folder" if name else "no picture is named"
            )
            return
        box = row.box()
        if self.folder is None:
            self.folder = self._folder_of(name)
        if name in self.unreadable:
            return
        if name not in self.images:
            size = row.size() or size_of(self.folder / name)
            if size is None:
                self.unreadable[name] = None
                return
            own = {"id": len(self.images) + 1, "file_name": name, "width": size[0], "height": size[1]}
            self.images[name] = own
        if box is not None:
            self.objects.append((self.images[name]["id"], row["label"].strip(), box))

    def _folder_of(self, name: str) -> Path:
        """Return the folder of the pictures: the first that has the picture of the first row."""
        root, split = self.place.root, self.place.name
        tried = [self.place.path.parent, root / "images" / split, root / "images", root / split, root]
        return next((folder for folder in tried if os.path.isfile(folder / name)), tried[0])

    def part(self, numbers: Mapping[str, int]) -> Part:
        """Return what was read."""
        annotations = [
            {"id": count, "image_id": image, "category_id": numbers[name], "bbox": box, "iscrowd": 0}
            for count, (image, name, box) in enumerate(self.objects, 1)
        ]
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        whole = {"images": [*self.images.values()], "annotations": annotations, "categories": categories}
        folder = self.folder or self.place.path.parent
        return Part(self.place.path, folder, whole, tuple(self.unreadable))


@dataclass(frozen=True)
class _Row:
    path: Path
    line: int
    raw: str
    cells: list[str]
    columns: Mapping[str, int]
    faults: Faults

    def __getitem__(self, column: str) -> str:
        return self.cells[self.columns[column]] if column in self.columns else ""

    def fault(self, column: str, message: str, tip: str = "") -> None:
        """Note a problem of a cell."""
        place = _start_of(self.raw, self.columns[column])
        self.faults.add(f"{self.path}:{self.line}:{place}", message, tip)

    def size(self) -> tuple[int, int] | None:
        """Return width and height of the picture; None if the row does not say them."""
        sides = [number_of(self[column].strip()) for column in ("width", "height")]
        whole = [int(side) for side in sides if side is not None and side >= 1 and side % 1 == 0]
        return (whole[0], whole[1]) if len(whole) == 2 else None

    def box(self) -> list[float] | None:
        """Return [x, y, width, height]; None of a picture without objects, and of a row that is wrong."""
        texts = [self[column].strip() for column in _BOX]
        if not any(texts):
            return None
        sides = [number_of(text) for text in texts]
        for column, text, side in zip(_BOX, texts, sides, strict=True):
            if side is None:
                self.fault(column, f"{column} is {text[:40]!r}, not a number of pixels")
        if not self["label"].strip():
            self.fault("label", "the object has no label")
            return None
        left, top, right, bottom = sides
        if left is None or top is None or right is None or bottom is None:
            return None
        for column, first, last in (("xmax", left, right), ("ymax", top, bottom)):
            if last < first:
                self.fault(column, f"{column} {last:g} is less than {column.replace('max', 'min')} {first:g}")
                return None
        return [round(side, _DIGITS) for side in (left, top, right - left, bottom - top)]


def _rows(path: Path, lines: list[str], faults: Faults) -> Iterator[_Row]:
    """Yield the rows of a file; none if its header lacks columns."""
    header = _cells(lines[0]) if lines else []
    columns = _columns(header)
    missing = [column for column in _NEEDED if column not in columns]
    for column in missing:
        others = [name for name in header if _column(name) is None]
        faults.add(f"{path}:1:1", f"there is no column '{column}'", near(column, others) or _EXPECTED)
    if missing:
        return
    for number, line in enumerate(lines[1:], 2):
        if not line.strip(", \t"):
            continue
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error as error:
            faults.add(f"{path}:{number}:1", f"the row cannot be read: {error}")
            continue
        if len(cells) != len(header):
            faults.add(f"{path}:{number}:1", f"{len(cells)} cells, and the header has {len(header)} columns")
        else:
            yield _Row(path, number, line, cells, columns, faults)


def _cells(line: str) -> list[str]:
    """Return the names in a header; none if it cannot be read."""
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration):
        return []


def _start_of(line: str, cell: int) -> int:
    """Return the column of a line at which a cell begins, from 1."""
    quoted, seen = False, 0
    for place, character in enumerate(line):
        if seen == cell:
            return place + 1
        quoted ^= character == '"'
        seen += character == "," and not quoted
    return len(line) + 1


def _header(path: Path) -> list[str]:
    """Return the names of the columns of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            line = file.readline(_HEADER_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return []
    return _cells(line.rstrip("\r\n"))


def _columns(header: list[str]) -> dict[str, int]:
    """Return the place of each column that is known."""
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        if (column := _column(name)) is not None:
            found.setdefault(column, place)
    return found


def _column(name: str) -> str | None:
    plain = name.strip().lower()
    return next((column for column, names in COLUMNS.items() if plain in names), None)
