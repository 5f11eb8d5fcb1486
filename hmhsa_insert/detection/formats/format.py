"""What a format of labels is: where its splits lie in a folder, how they are read, and how they are written."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from hmhsa_insert.detection.annotations import few
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.text import LABELS, FileLimits, read_file
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.pictures import read_size
from hmhsa_insert.training.problems import DataError

_MOST_SHOWN = 20
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\Z", re.ASCII)
_LARGEST = 2.0**31  # pixels


@dataclass(frozen=True)
class Part:
    """What is read of one split.

    Attributes:
        where: the file or folder that problems of the whole split name.
        images: the folder that file names are below.
        whole: images, annotations and categories in COCO's form.
        unreadable: pictures whose size is said nowhere and cannot be read.
        notes: what was decided.
    """

    where: Path
    images: Path
    whole: dict[str, Any]
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """Counts in words."""
        counts = len(self.whole["images"]), len(self.whole["annotations"])
        return "{:,} images with {:,} objects".format(*counts)

    def by_picture(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield each image with its annotations, both in the order of the file."""
        theirs: dict[Any, list[dict[str, Any]]] = {each["id"]: [] for each in self.whole["images"]}
        for each in self.whole["annotations"]:
            theirs[each["image_id"]].append(each)
        for image in self.whole["images"]:
            yield image, theirs[image["id"]]


Parts = Mapping[str, Part]
Step = Callable[[], None]


class Format(ABC):
    """A format of labels.

    Attributes:
        name: what commands call it.
        title: what is said to be found.
        labels: what a split has of it.
        layout: where it is looked for, in words.
        masks: whether it can hold masks.
        writes: whether it is written, too.
        as_given: whether it holds crowd regions, and boxes that are not within their pictures, as they are.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    labels: ClassVar[str]
    layout: ClassVar[str]
    masks: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    as_given: ClassVar[bool] = False

    @abstractmethod
    def find(self, root: Path) -> Mapping[str, Any]:
        """Return where each split lies, by its name; nothing if nothing in the folder is of this format.

        Raises:
            DataError: what is there is of this format, and cannot be read.
        """

    @abstractmethod
    def read(self, places: Mapping[str, Any], masks: bool, watch: Watch | None = None) -> dict[str, Part]:
        """Return what is in the splits, with one list of categories.

        Args:
            places: of the splits to read, as `find` returned them.
            masks: whether every object must have one.
            watch: called with how many files are read, and of how many.

        Raises:
            DataError: all problems of all files, up to a limit.
        """

    def write(self, parts: Parts, folder: Path, step: Step) -> None:
        """Write labels and copy pictures into a new folder.

        Args:
            parts: the splits; every box has an area in its image, and every picture's file is there.
            folder: to write into.
            step: called after each picture.

        Raises:
            DataError: the format cannot hold them.
        """
        raise NotImplementedError(self.name)


class Faults:
    """Problems of files of labels: the first are kept with their places, the others counted."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._more = 0

    def add(self, where: object, message: str, tip: str = "") -> None:
        """Note a problem."""
        if len(self._found) < _MOST_SHOWN:
            self._found.append(Problem(str(where), message, tip))
        else:
            self._more += 1

    def extend(self, error: HmhsaInsertError) -> None:
        """Note the problems of an error."""
        for each in error.problems:
            self.add(each.where, each.message, each.tip)

    def report(self) -> None:
        """Raise if there are any.

        Raises:
            DataError: with all of them.
        """
        more = [Problem("", f"and {self._more:,} more problems")] if self._more else []
        if self._found:
            raise DataError([*self._found, *more])


def read_lines(path: Path, faults: Faults, limits: FileLimits = LABELS) -> list[str]:
    """Return the lines of a text file; none if it cannot be read, which is a fault."""
    try:
        text = read_file(path, DataError, limits)
    except DataError as error:
        faults.extend(error)
        return []
    # Not by splitlines: to an editor, nothing else ends a line.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height of a picture, upright; None if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            return read_size(file)
    except Exception:  # a damaged picture fails in any way its format likes
        return None


def number_of(text: str) -> float | None:
    """Return the number that a text is; None if it is none, or none that a picture has."""
    if not _NUMBER.match(text):
        return None
    value = float(text)
    return value if abs(value) <= _LARGEST else None


def refuse_shared_stems(parts: Parts) -> None:
    """Refuse pictures of one split that differ in their endings alone, of a format that names labels by stems.

    Raises:
        DataError: there are some.
    """
    problems = []
    for split, part in parts.items():
        names: dict[str, str] = {}
        for image in part.whole["images"]:
            name = str(image["file_name"])
            other = names.setdefault(PurePosixPath(name).with_suffix("").as_posix(), name)
            if other is not name:
                message = f"{split}: {other} and {name} would have one file of labels"
                problems.append(Problem(str(part.where), message, "rename one of them"))
    if problems:
        raise DataError(problems)


def copied(part: Part, image: Mapping[str, Any], folder: Path) -> Path:
    """Copy a picture into a folder, by its name; return the path of the copy."""
    target = folder / str(image["file_name"])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(part.images / image["file_name"], target)
    return target


def written(path: Path, text: str) -> None:
    """Write a text file into a folder that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def counted(names: list[str], what: str) -> list[str]:
    """Return a note about some names; none if there are none."""
    return [f"{len(names):,} {what}: {few(names)}"] if names else []


def listed(watch: Watch | None, done: int, total: int) -> None:
    """Tell whoever watches how many files are read, now and then."""
    if watch is not None and done % 100 == 0:
        watch(done, total)
