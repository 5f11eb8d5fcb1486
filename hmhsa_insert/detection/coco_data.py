"""Data of detection in COCO's form, from labels of any format: what is left out is said, targets are torchvision's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from hmhsa_insert.detection.annotations import GIVEN, Annotations, ImageRecord, by_image, few
from hmhsa_insert.detection.coco_digest import digest_of_annotations, digest_with_contents
from hmhsa_insert.detection.formats.format import Format, Part
from hmhsa_insert.detection.formats.table import FORMATS, find_format, read_splits
from hmhsa_insert.detection.layout import TRAIN, VAL
from hmhsa_insert.detection.segmentation import decoded
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.pictures import ManyChannels, read_gray, read_picture
from hmhsa_insert.training.problems import DataError

Target = dict[str, torch.Tensor]
_LEAST_SIDE = 4 * torch.finfo(torch.float32).eps  # of a box, as a share of the image's longer side


@dataclass(frozen=True)
class CocoSplit:
    """Images with boxes, and masks where they are asked for.

    Attributes:
        folder: of the image files.
        records: one an image.
        labels: category id -> label from 1 on, without holes; 0 is the detectors' background.
        masks: whether targets have masks.
    """

    folder: Path
    records: tuple[ImageRecord, ...]
    labels: Mapping[int, int]
    masks: bool

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """Return the image's file name, as its annotation file has it."""
        return self.records[index].file_name

    def image(self, index: int) -> Image.Image:
        """Return one image as it looks, RGB.

        Raises:
            DataError: upright, its size is not the annotated one, so that no box would fit.
        """
        record = self.records[index]
        with (self.folder / record.file_name).open("rb") as file:
            image = read_picture(file).convert("RGB")
        if image.size != (record.width, record.height):
            message = f"is {image.width}×{image.height} upright, annotated as {record.width}×{record.height}"
            raise DataError(Problem(record.file_name, message))
        return image

    def target(self, index: int) -> Target:
        """Return what an image shows: boxes N×4 (x1, y1, x2, y2), labels N and, if asked for, masks N×H×W (0 or 1).

        Crowd regions are left out, and so are boxes that have no area within the image: nothing can be learned there.
        """
        record = self.records[index]
        kept = [each for each in record.annotations if trainable(each, record)]
        boxes = [_corners(each["bbox"], record) for each in kept]
        target = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([self.labels[each["category_id"]] for each in kept], dtype=torch.int64),
        }
        if self.masks:
            size = (record.height, record.width)
            masks = [decoded(each["segmentation"], *size) for each in kept]
            stacked = np.stack(masks) if masks else np.zeros((0, *size), dtype=np.uint8)
            target["masks"] = torch.from_numpy(stacked)
        return target


@dataclass(frozen=True)
class CocoData:
    """A data set in COCO's format.

    Attributes:
        source: what the user called it.
        train, val: the splits.
        classes: names in the order of their labels, without the background.
        category_ids: of the classes, in their annotation files.
        fingerprint: digest of names, annotations and what is in the image files.
        notes: what was decided and left out.
        names_fingerprint: digest of names and annotations, by which runs of earlier versions know their data.
    """

    source: str
    train: CocoSplit
    val: CocoSplit
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    names_fingerprint: str = ""
    channels: int = 3

    @property
    def num_classes(self) -> int:
        """How many classes there are, the background not counted."""
        return len(self.classes)


def open_coco(
    root: str | Path,
    masks: bool = False,
    missing: Literal["skip", "error"] = "skip",
    watch: Watch | None = None,
) -> CocoData:
    """Open a data set in COCO's format; arguments and errors as of :func:`open_objects`."""
    return _opened(str(root), FORMATS["coco"], Path(root), masks, missing, watch)


def open_objects(
    source: str | Path,
    masks: bool = False,
    missing: Literal["skip", "error"] = "skip",
    watch: Watch | None = None,
) -> CocoData:
    """Open a data set in any of the formats of :data:`~hmhsa_insert.detection.formats.table.FORMATS`.

    Args:
        source: its folder, or the file that describes it; ``yolo:FOLDER`` says which format is meant.
        masks: whether masks are needed.
        missing: what is done about images whose files are missing: left out and said, or an error.
        watch: called with how many images are read, and of how many, while what is in them is digested.

    Raises:
        DataError: files are missing or contradict themselves; the two splits have other categories; nothing is left.
    """
    found = find_format(str(source))
    data = _opened(str(source), found.format, found.root, masks, missing, watch)
    return replace(data, notes=(*found.notes, *data.notes))


def _opened(
    source: str,
    format: Format,
    root: Path,
    masks: bool,
    missing: Literal["skip", "error"],
    watch: Watch | None,
) -> CocoData:
    parts = read_splits(format, root, (TRAIN, VAL), masks, watch)
    read = {split: by_image(part.where, part.whole, masks) for split, part in parts.items()}
    _compare_categories(read[TRAIN], read[VAL])
    ids = tuple(read[TRAIN].categories)
    labels = {number: label for label, number in enumerate(ids, 1)}
    notes: list[str] = []
    splits = {
        split: CocoSplit(part.images, _present(read[split], part, missing, notes), labels, masks)
        for split, part in parts.items()
    }
    notes += [f"{split}: {note}" for split, part in parts.items() for note in part.notes]
    notes += [
        note for name, split in splits.items() for note in (*_areas(name, split), *_channels(name, split))
    ]
    notes += _left_out(splits[TRAIN], masks)
    if without := _without_area(splits[VAL]):
        area = "area or mask" if masks else "area"
        text = f"boxes without {area} in the image count as objects to be found ({few(without)})"
        notes.append(f"{VAL}: {len(without):,} {text}")
    if not any(trainable(each, record) for record in splits[TRAIN].records for each in record.annotations):
        raise DataError(Problem(str(read[TRAIN].path), "no image has a box to learn from"))
    names = digest_of_annotations(split.records for split in splits.values())
    return CocoData(
        source,
        splits[TRAIN],
        splits[VAL],
        tuple(read[TRAIN].categories.values()),
        ids,
        digest_with_contents(names, [(split.folder, split.records) for split in splits.values()], watch),
        tuple(notes),
        names,
    )


def trainable(annotation: Mapping[str, Any], record: ImageRecord) -> bool:
    """Return True if an annotation is one to learn from: no crowd, a box with an area in the image, a mask if any."""
    if annotation["iscrowd"] or annotation.get("segmentation") == []:
        return False
    left, top, right, bottom = _corners(annotation["bbox"], record)
    # Detectors compute in float32: mirrored and scaled, the sides of a thinner box may fall together.
    least = _LEAST_SIDE * max(record.width, record.height)
    return right - left >= least and bottom - top >= least


def _corners(box: list[float], record: ImageRecord) -> tuple[float, float, float, float]:
    left, top, width, height = box
    right, bottom = min(left + width, record.width), min(top + height, record.height)
    return max(left, 0.0), max(top, 0.0), right, bottom


def _compare_categories(train: Annotations, val: Annotations) -> None:
    if dict(train.categories) == dict(val.categories):
        return
    other = [
        f"{number} is {train.categories.get(number, 'nothing')!r} there, {val.categories.get(number, 'nothing')!r} here"
        for number in sorted({*train.categories, *val.categories})
        if train.categories.get(number) != val.categories.get(number)
    ]
    message = f"its categories are not those of {train.path.name}: {few(other)}"
    raise DataError(Problem(str(val.path), message, "both files must list the same categories"))


def _present(
    read: Annotations, part: Part, missing: Literal["skip", "error"], notes: list[str]
) -> tuple[ImageRecord, ...]:
    """Return the images whose files are there."""
    present = tuple(each for each in read.images if _is_file(part.images / each.file_name))
    there = {each.id for each in present}
    absent = [each.file_name for each in read.images if each.id not in there] + list(part.unreadable)
    if not absent:
        return present
    what = "missing or damaged" if part.unreadable else "missing"
    said = f"{len(absent):,} of {len(read.images) + len(part.unreadable):,} image files are {what}: {few(absent)}"
    if missing == "error" or not present:
        tip = f"looked in {part.images}" + (
            "; `overrides=['loader.corrupt=skip']` leaves them out" if present else ""
        )
        raise DataError(Problem(str(read.path), said, tip))
    notes.append(f"{read.path.name}: {said}; left out")
    return present


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False


def _left_out(train: CocoSplit, masks: bool) -> list[str]:
    """Return what of the training split is not learned from, in words."""
    pairs = [(each, record) for record in train.records for each in record.annotations]
    crowds = sum(bool(each["iscrowd"]) for each, _ in pairs)
    without = _without_area(train)
    empty = sum(not any(trainable(a, record) for a in record.annotations) for record in train.records)
    area = "area or mask" if masks else "area"
    counts = (
        (len(without), f"boxes without {area} in the image left out ({few(without)})"),
        (crowds, "crowd regions not trained on"),
        (empty, "images without boxes kept as negatives"),
    )
    said = [f"{count:,} {text}" for count, text in counts if count]
    return [f"train: {', '.join(said)}"] if said else []


def _without_area(split: CocoSplit) -> list[str]:
    """Return the annotations that are no crowd and nothing to learn from, by id and image."""
    return [
        f"id {each[GIVEN]['id']} of {record.file_name}"
        for record in split.records
        for each in record.annotations
        if not each["iscrowd"] and not trainable(each, record)
    ]


def _channels(name: str, split: CocoSplit) -> list[str]:
    """Return what is said if the first image has channels that are not read."""
    for record in split.records[:1]:
        try:
            with (split.folder / record.file_name).open("rb") as file:
                read_gray(file)
        except ManyChannels as error:
            return [f"{name}: {record.file_name} {error}"]
        except Exception:  # a damaged picture fails in any way its format likes; the loop counts and names it
            return []
    return []


def _areas(name: str, split: CocoSplit) -> list[str]:
    """Return of how many annotations the area is computed, in words."""
    own = sum(not each[GIVEN]["area"] for record in split.records for each in record.annotations)
    return (
        [f"{name}: {own:,} annotations have no 'area': that of the mask is taken, or of the box"]
        if own
        else []
    )
