"""Where a Pascal VOC data set keeps its XML files and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hmhsa_insert.detection.layout import TEST, TRAIN, VAL, split_of
from hmhsa_insert.errors import Problem
from hmhsa_insert.files.text import LABELS, read_file
from hmhsa_insert.training.data.pictures import ending, picture_endings
from hmhsa_insert.training.data.tree import is_system
from hmhsa_insert.training.names import order
from hmhsa_insert.training.problems import DataError

_CLASSES = ("classes.txt", "labels.txt")
# What lists of one class have after a name: whether the class is on the picture.
_FLAG = re.compile(r"\s+-?[01]\Z")
_PICTURES = ("JPEGImages", "images", "Images")


@dataclass(frozen=True)
class Place:
    """One split.

    Attributes:
        where: the list of its files, or their folder.
        xml: the folder that XML files are below.
        images: the folder that pictures are below.
        stems: of its files, below both folders.
        classes: their names in order; empty if nothing says them.
        notes: what was decided.
    """

    where: Path
    xml: Path
    images: Path
    stems: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def pictures(self) -> Mapping[str, list[str]]:
        """Return the names of the pictures below their folder, by their stems."""
        endings = picture_endings()
        found: dict[str, list[str]] = {}
        for path, folders, files in os.walk(self.images):
            folders[:] = [name for name in folders if not is_system(name)]
            below = Path(path).relative_to(self.images)
            for name in sorted(files):
                if ending(name) in endings:
                    found.setdefault((below / name).with_suffix("").as_posix(), []).append(
                        (below / name).as_posix()
                    )
        return found


def find_places(root: Path) -> dict[str, Place]:
    """Return where the splits lie; nothing if this is no VOC data set.

    Raises:
        DataError: a list of files cannot be used.
    """
    if not root.is_dir():
        return {}
    base = _base(root)
    if (base / "Annotations").is_dir():
        return _listed(base) or _by_folders(base / "Annotations", base)
    return _by_folders(base, base)


def _base(root: Path) -> Path:
    """Return the folder of Annotations: this one, or the last year's of a development kit."""
    if (root / "Annotations").is_dir():
        return root
    years = [*root.glob("VOC*/Annotations"), *root.glob("VOCdevkit/VOC*/Annotations")]
    return max(years, key=lambda path: path.parent.name).parent if years else root


def _listed(base: Path) -> dict[str, Place]:
    """Return the splits that ImageSets/Main lists: train and val, or trainval and test as those two."""
    folder = base / "ImageSets" / "Main"
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))} if folder.is_dir() else {}
    notes: tuple[str, ...] = ()
    chosen = {split: split for split in (TRAIN, VAL, TEST) if split in files}
    if "trainval" in files and TEST in files and (TRAIN not in files or VAL not in files):
        chosen = {TRAIN: "trainval", VAL: TEST}
        notes = ("trainval is for training, test for validation",)
    return {
        split: _place(base, files[name], _stems(files[name]), split, notes) for split, name in chosen.items()
    }


def _stems(path: Path) -> list[str]:
    problems, found = [], []
    for number, line in enumerate(read_file(path, DataError, LABELS).splitlines(), 1):
        name = _FLAG.sub("", line.strip())
        if not name:
            continue
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or "\0" in name:
            problems.append(Problem(f"{path}:{number}:1", f"'{name}' leads out of the folder"))
        else:
            found.append(parts.as_posix())
    if problems:
        raise DataError(problems)
    return list(dict.fromkeys(found))


def _place(base: Path, where: Path, stems: list[str], split: str, notes: tuple[str, ...] = ()) -> Place:
    """Return a split that a list names; where all its files are in a folder of its name, that one is its folder."""
    images = next((base / name for name in _PICTURES if (base / name).is_dir()), base / _PICTURES[0])
    xml = base / "Annotations"
    start = f"{split}/"
    if stems and all(stem.startswith(start) for stem in stems):
        xml, images, stems = xml / split, images / split, [stem.removeprefix(start) for stem in stems]
    return Place(where, xml, images, tuple(stems), _classes(base), notes)


def _by_folders(folder: Path, base: Path) -> dict[str, Place]:
    """Return the splits that are folders of XML files, with the pictures beside them or in a folder of their own."""
    found: dict[str, Place] = {}
    for entry in sorted(folder.iterdir()):
        split = split_of(entry.name)
        if split is None or split in found or not entry.is_dir():
            continue
        stems = [path.relative_to(entry).with_suffix("").as_posix() for path in entry.rglob("*.xml")]
        apart = [base / name / entry.name for name in _PICTURES]
        images = next((each for each in apart if each.is_dir()), entry)
        if stems:
            found[split] = Place(entry, entry, images, tuple(sorted(stems, key=order)), _classes(base))
    return found


def _classes(base: Path) -> tuple[str, ...]:
    path = next((base / name for name in _CLASSES if (base / name).is_file()), None)
    if path is None:
        return ()
    lines = (line.strip() for line in read_file(path, DataError, LABELS).splitlines())
    return tuple(line for line in lines if line)
