"""Labels of one format written in another: what cannot be carried is found by reading back, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmhsa_insert.detection.annotations import by_image, few
from hmhsa_insert.detection.formats.compare import not_carried
from hmhsa_insert.detection.formats.format import Faults, Format, Part
from hmhsa_insert.detection.formats.table import FORMATS, find_format
from hmhsa_insert.detection.layout import SPLITS
from hmhsa_insert.detection.make_shapes import SHAPES_SET, shapes_folder
from hmhsa_insert.detection.segmentation import BadSegmentation, read_segmentation
from hmhsa_insert.errors import Argument, Problem, near
from hmhsa_insert.files.whole_folder import replaceable, whole_folder
from hmhsa_insert.training.problems import DataError

WRITTEN = tuple(name for name, each in FORMATS.items() if each.writes)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        folder: of the new set.
        said: the counts of each split, in words.
        notes: what was read, what was left out, and what the new format does not carry.
    """

    folder: Path
    said: str
    notes: tuple[str, ...]


def convert(
    source: str, to: str, folder: str | Path, *, overwrite: bool = False, on_step: Progress | None = None
) -> Converted:
    """Write a data set in another format: labels and pictures.

    Args:
        source: what ``train --task detect`` takes as data.
        to: ``coco``, ``yolo``, ``voc`` or ``masks`` (semantic masks in PNG files).
        folder: must not exist, unless `overwrite` and a data set was written there.
        overwrite: replace an older set.
        on_step: called with what is done, how many pictures are done, and of how many.

    Raises:
        DataError: the source cannot be read, the folder exists, or the format cannot hold the labels; nothing is
            written then.
    """
    target, format = Path(folder), _format(to)
    ours, problems = replaceable(target, overwrite)
    if problems:
        raise DataError(problems)
    step = on_step or (lambda what, done, total: None)

    def watching(what: str) -> Callable[[int, int], None]:
        return lambda done, total: step(what, done, total)

    found = find_format(str(shapes_folder(None) if source == SHAPES_SET else source))
    places = found.format.find(found.root)
    read = found.format.read(
        {split: places[split] for split in SPLITS if split in places},
        False,
        watching("reading labels"),
    )
    notes: list[str] = list(found.notes)
    parts = {split: _kept(split, part, format, notes) for split, part in read.items()}
    total, done = sum(len(part.whole["images"]) for part in parts.values()), 0

    def written() -> None:
        nonlocal done
        done += 1
        step("writing", done, total)

    with whole_folder(target, ours, DataError) as writing:
        format.write(parts, writing, written)
        if format.layout:
            notes += not_carried(parts, format.read(format.find(writing), False, watching("reading back")))
    said = ", ".join(f"{split}: {part.said}" for split, part in parts.items())
    return Converted(target, said, tuple(notes))


def _format(to: str) -> Format:
    if to not in WRITTEN:
        tip = near(to, WRITTEN) or f"choose {', '.join(WRITTEN)}"
        raise DataError(Problem(Argument("to"), f"there is no format '{to}' that is written", tip))
    return FORMATS[to]


def _kept(split: str, part: Part, format: Format, notes: list[str]) -> Part:
    """Return what of a split the format can hold, checked, and say what is left out.

    Raises:
        DataError: it contradicts itself.
    """
    by_image(part.where, part.whole, False)
    missing = [each for each in part.whole["images"] if not _is_file(part.images / each["file_name"])]
    gone = {each["id"] for each in missing}
    images = {each["id"]: each for each in part.whole["images"] if each["id"] not in gone}
    left = _Left()
    for name in (*part.unreadable, *(each["file_name"] for each in missing)):
        left.out("pictures whose files are missing or damaged", name)
    kept = []
    for place, each in enumerate(part.whole["annotations"]):
        image = images.get(each["image_id"])
        if image is not None and _is_drawable(
            each, image, f"{part.where}: annotations[{place}]", left.faults
        ):
            found = each if format.as_given else _within(each, image, left)
            kept += [] if found is None else [found]
    left.faults.report()
    notes += [f"{split}: {note}" for note in left.notes]
    return replace(part, whole={**part.whole, "images": [*images.values()], "annotations": kept})


class _Left:
    """What is left out of a split, and what is wrong in it."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.cut = 0
        self._out: dict[str, list[str]] = {}

    def out(self, what: str, name: str) -> None:
        """Note one that is left out."""
        self._out.setdefault(what, []).append(name)

    @property
    def notes(self) -> list[str]:
        """The counts in words."""
        found = [f"left out: {len(names):,} {what} ({few(names)})" for what, names in self._out.items()]
        return found + ([f"{self.cut:,} boxes are cut at the edges of their pictures"] if self.cut else [])


def _within(each: dict[str, Any], image: dict[str, Any], left: _Left) -> dict[str, Any] | None:
    """Return an object whose box is within its picture; None of a crowd, and where nothing is left."""
    if each.get("iscrowd"):
        left.out("crowd regions", f"id {each.get('id')}")
        return None
    box = _clipped(each["bbox"], image["width"], image["height"])
    if min(box[2:]) <= 0:
        left.out("boxes without area in their pictures", f"id {each.get('id')}")
        return None
    left.cut += box != each["bbox"]
    size = image["height"], image["width"]
    # Of too few corners: nothing is drawn.
    drawn = read_segmentation(each["segmentation"], *size) if each.get("segmentation") else None
    return {**each, "bbox": box, "segmentation": drawn or None}


def _is_drawable(each: dict[str, Any], image: dict[str, Any], place: str, faults: Faults) -> bool:
    """Return False, and say why, if an object has a mask that cannot be drawn."""
    try:
        if each.get("segmentation"):
            read_segmentation(each["segmentation"], image["height"], image["width"])
    except BadSegmentation as error:
        faults.add(f"{place} (id {each.get('id')})", str(error))
        return False
    return True


def _clipped(box: list[float], width: int, height: int) -> list[float]:
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
    if (left, top, right, bottom) == (box[0], box[1], box[0] + box[2], box[1] + box[3]):
        return box
    return [left, top, right - left, bottom - top]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False
