"""Where a YOLO data set keeps its pictures and labels: by data.yaml, or by the names of its folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hmhsa_insert.detection.formats.format import Faults, read_lines
from hmhsa_insert.detection.layout import SPLITS, split_of
from hmhsa_insert.errors import near
from hmhsa_insert.files.text import LABELS, read_file
from hmhsa_insert.recipe.marks import UNREADABLE, Document
from hmhsa_insert.recipe.yaml_text import read_text
from hmhsa_insert.training.data.pictures import ending, picture_endings
from hmhsa_insert.training.data.tree import is_system
from hmhsa_insert.training.names import order
from hmhsa_insert.training.problems import DataError

_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "labels.txt")
_KEYS = ("path", "train", "val", "test", "nc", "names", "kpt_shape", "task", "download")
_SYNONYMS = {"val": ("val", "valid", "validation")}
_MOST_KEYPOINTS = 10_000


@dataclass(frozen=True)
class Place:
    """One split.

    Attributes:
        root: the folder of the data set, which holds everything.
        where: the first of its folders or lists.
        listed: folders of pictures, or text files that list pictures.
        names: of the classes, by their numbers; empty if nothing says them.
        keypoints: how many numbers of keypoints follow each box.
        task: what data.yaml says of it: detect, segment, obb; mostly nothing.
        notes: what was decided.
    """

    root: Path
    where: Path
    listed: tuple[Path, ...]
    names: Mapping[int, str]
    keypoints: int = 0
    task: str = ""
    notes: tuple[str, ...] = ()

    def pictures(self, faults: Faults) -> list[str]:
        """Return the paths of the split's pictures below the root, in the order of their names."""
        found: dict[str, None] = {}
        for each in self.listed:
            lines = _below(each, self.root) if each.is_dir() else _lines(each, self.root, faults)
            found |= dict.fromkeys(lines)
        return sorted(found, key=order)


def label_of(picture: str) -> str:
    """Return the path of a picture's labels: `labels` for the last folder `images`, or beside it."""
    path = PurePosixPath(picture)
    parts = list(path.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return "/".join(parts)


def find_places(root: Path) -> dict[str, Place]:
    """Return where the splits lie; nothing if this is no YOLO data set.

    Raises:
        DataError: data.yaml cannot be used.
    """
    if root.is_file():
        return _Described(root).places() if ending(root.name) in (".yaml", ".yml") else {}
    for name in _YAMLS:
        if (root / name).is_file():
            return _Described(root / name).places()
    return _by_folders(root)


def _by_folders(root: Path) -> dict[str, Place]:
    """Return the splits of ``images/train`` with ``labels/train``, or of ``train/images`` with ``train/labels``."""
    above = [root / "images"] if (root / "images").is_dir() else [root]
    found: dict[str, Path] = {}
    for folder in above:
        for entry in sorted(folder.iterdir()):
            split = split_of(entry.name)
            pictures = entry if folder != root else entry / "images"
            labels = root / "labels" / entry.name if folder != root else entry / "labels"
            if split and pictures.is_dir() and any(labels.glob("**/*.txt")):
                found.setdefault(split, pictures)
    names, notes = _listed_names(root) if found else ({}, ())
    return {split: Place(root, folder, (folder,), names, notes=notes) for split, folder in found.items()}


def _listed_names(root: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    path = next((root / name for name in _NAMES if (root / name).is_file()), None)
    if path is None:
        return {}, ("no data.yaml and no classes.txt: classes are called by their numbers",)
    lines = [line.strip() for line in read_file(path, DataError, LABELS).splitlines()]
    return dict(enumerate(line for line in lines if line)), ()


class _Described:
    """What data.yaml says, checked."""

    def __init__(self, path: Path) -> None:
        self._path, self._root = path, path.parent
        self._document: Document = read_text(read_file(path, DataError, LABELS), str(path), LABELS)
        self._findings = self._document.findings
        value = self._document.value
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}
        if value is not UNREADABLE and not isinstance(value, dict):
            self._findings.add((), "a mapping with 'train', 'val' and 'names' was expected")

    def places(self) -> dict[str, Place]:
        """Return the splits.

        Raises:
            DataError: all that is wrong in the file.
        """
        names, keypoints, task = self._names(), self._keypoints(), self._task()
        base, notes = self._base()
        listed = {}
        for split in SPLITS:
            key = next((key for key in _SYNONYMS.get(split, (split,)) if key in self._value), split)
            found = self._listed(base, key)
            if found:
                listed[split] = found
        for split in ("train", "val"):
            if self._value and split not in listed and not self._findings.problems():
                tip = near(split, self._value) or "write the folder of its pictures"
                self._findings.add((), f"there is no '{split}'", tip)
        if problems := self._findings.problems():
            raise DataError(problems)
        return {
            split: Place(self._root, found[0], found, names, keypoints, task, notes)
            for split, found in listed.items()
        }

    def _names(self) -> dict[int, str]:
        names = self._value.get("names")
        if isinstance(names, list):
            names = {str(number): name for number, name in enumerate(names)}
        if names is UNREADABLE:
            return {}
        if not isinstance(names, dict) or not names:
            if self._value:
                tip = "" if "names" in self._value else near("names", self._value)
                self._findings.add(("names",), "there are no 'names' of classes", tip)
            return {}
        for key, name in names.items():
            if isinstance(name, dict | list) or name is None or name == "":
                self._findings.add(("names", key), f"class {key} has no name")
        if set(names) != {str(number) for number in range(len(names))}:
            self._findings.add(
                ("names",), f"the numbers of {len(names)} classes must be 0 to {len(names) - 1}"
            )
            return {}
        count = self._value.get("nc", len(names))
        if count != len(names):
            self._findings.add(("nc",), f"nc is {count}, and there are {len(names)} names")
        return {int(key): str(name) for key, name in sorted(names.items(), key=lambda item: int(item[0]))}

    def _keypoints(self) -> int:
        shape = self._value.get("kpt_shape")
        if shape is None:
            return 0
        numbers = isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)
        if not numbers or shape[0] < 0 or shape[1] not in (2, 3) or shape[0] > _MOST_KEYPOINTS:
            self._findings.add(("kpt_shape",), "kpt_shape must be [POINTS, 2] or [POINTS, 3]")
            return 0
        return int(shape[0] * shape[1])

    def _task(self) -> str:
        task = self._value.get("task")
        if task == "obb":
            self._findings.add(("task",), "the boxes are oriented", NO_ORIENTED)
        return task if isinstance(task, str) else ""

    def _base(self) -> tuple[Path, tuple[str, ...]]:
        """Return the folder that paths are below: `path`, where that is a folder in this one."""
        text = self._value.get("path")
        if not isinstance(text, str) or text in ("", "."):
            return self._root, ()
        inside = _inside(self._root, self._root, text)
        if inside is not None and os.path.isdir(inside):
            return inside, ()
        return self._root, (f"{self._path.name}: its path is not a folder below it, and is left out",)

    def _listed(self, base: Path, key: str) -> tuple[Path, ...]:
        value = self._value.get(key)
        if value is None or value == "" or value is UNREADABLE:
            return ()
        texts = value if isinstance(value, list) else [value]
        found = []
        for place, text in enumerate(texts):
            path = (key, place) if isinstance(value, list) else (key,)
            if not isinstance(text, str):
                self._findings.add(path, f"'{key}' must be a folder, or a text file that lists pictures")
                continue
            there = _inside(base, self._root, text)
            if there is None:
                self._findings.add(path, f"'{text}' leads out of the folder of {self._path.name}")
            elif not os.path.exists(there):
                self._findings.add(path, f"there is no '{text}'", near(text, _folders(self._root)))
            else:
                found.append(there)
        return tuple(found)


NO_ORIENTED = (
    "the detectors here learn upright boxes: export the set with upright boxes or polygons; if these are "
    "polygons, write `task: segment` in data.yaml"
)


def _inside(base: Path, root: Path, text: str) -> Path | None:
    """Return the path that a text means below `base` or `root`; None if it leads out of the root.

    Roboflow writes ``../train/images`` where ``train/images`` is meant.
    """
    if "\0" in text:
        return None
    path = PurePosixPath(text.replace("\\", "/"))
    absolute = PurePosixPath(os.path.abspath(root).replace("\\", "/"))
    if path.is_absolute():
        if not path.is_relative_to(absolute):
            return None
        path = path.relative_to(absolute)
    parts = [part for part in path.parts if part != "."]
    while parts and parts[0] == "..":
        parts = parts[1:]
    if ".." in parts:
        return None
    tried = [folder.joinpath(*parts) for folder in (base, root)]
    return next((each for each in tried if os.path.exists(each)), tried[0])


def _folders(root: Path) -> list[str]:
    """Return the folders two levels deep, as data.yaml would name them."""
    first = [each for each in sorted(root.iterdir()) if each.is_dir() and not is_system(each.name)]
    second = [each for folder in first[:100] for each in sorted(folder.iterdir()) if each.is_dir()]
    return [each.relative_to(root).as_posix() for each in (*first, *second)]


def _below(folder: Path, root: Path) -> Iterator[str]:
    """Yield the pictures in a folder and those below it; links to folders are not followed."""
    endings = picture_endings()
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_system(name)]
        for name in files:
            if ending(name) in endings and not is_system(name):
                yield Path(path, name).relative_to(root).as_posix()


def _lines(path: Path, root: Path, faults: Faults) -> Iterator[str]:
    """Yield the pictures that a text file lists, a line each."""
    for number, line in enumerate(read_lines(path, faults), 1):
        if not line.strip():
            continue
        found = _inside(path.parent, root, line.strip())
        if found is None:
            faults.add(f"{path}:{number}:1", f"'{line.strip()}' leads out of the folder of the data set")
        else:
            yield found.relative_to(root).as_posix()
