"""COCO's annotations as labels of pixels: of things and stuff from panoptic files, else of objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from hmhsa_insert.detection.annotations import few
from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.detection.layout import TRAIN, VAL, find_files
from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.shapes import Count, Name, Shape, checked
from hmhsa_insert.files.text import DATASET
from hmhsa_insert.segmentation.labels import CocoLabels, PanopticLabels
from hmhsa_insert.segmentation.mask_data import MaskData, MaskRecord, MaskSplit
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.problems import DataError

BACKGROUND = "background"


def has_annotations(root: Path) -> bool:
    """Return True if a folder has annotation files as COCO has them."""
    return bool(find_files(root))


def panoptic_files(root: Path) -> tuple[Path, Path] | None:
    """Return the panoptic annotation files of both splits; None where there are none."""
    both = [sorted((root / "annotations").glob(f"panoptic_{split}*.json")) for split in (TRAIN, VAL)]
    return (both[0][-1], both[1][-1]) if all(both) else None


def open_objects(root: Path, missing: Any, watch: Watch | None) -> MaskData:
    """Return objects of COCO's instance files: class 0 is what none covers, the others are the categories.

    Raises:
        DataError: as of :func:`~hmhsa_insert.detection.coco_data.open_coco`.
    """
    data = open_coco(root, True, missing, watch)
    classes = {number: place for place, number in enumerate(data.category_ids, 1)}
    train, val = (
        MaskSplit(
            tuple(
                MaskRecord(each.file_name, split.folder / each.file_name, CocoLabels(each, classes))
                for each in split.records
            )
        )
        for split in (data.train, data.val)
    )
    notes = ("objects of COCO's masks, smaller ones above larger ones; what none covers is 'background'",)
    return MaskData(
        str(root),
        train,
        val,
        (BACKGROUND, *data.classes),
        data.fingerprint,
        (*notes, *data.notes),
        data.names_fingerprint,
    )


class _Segment(Shape):
    id: Count
    category_id: Count


class _Annotation(Shape):
    image_id: int
    file_name: Name
    segments_info: list[_Segment]


class _Image(Shape):
    id: int
    file_name: Name


class _Category(Shape):
    id: Count
    name: Name


class _Panoptic(Shape):
    images: list[_Image] = Field(min_length=1)
    categories: list[_Category] = Field(min_length=1)
    annotations: list[_Annotation] = Field(min_length=1)


def panoptic_records(path: Path) -> tuple[tuple[MaskRecord, ...], tuple[str, ...]]:
    """Return the images of a panoptic file, and the names of its classes.

    Raises:
        DataError: it is not of this form, contradicts itself, or the files that it names are not there.
    """
    values = read_json_mapping(path, DataError, DATASET)
    found = checked(_Panoptic, values, path, DataError)
    classes = {
        each.id: place for place, each in enumerate(sorted(found.categories, key=lambda each: each.id))
    }
    names = {each.id: each.name for each in found.categories}
    images = {each.id: each.file_name for each in found.images}
    masks = path.parent / path.stem
    tag = path.stem.removeprefix("panoptic_")
    folders = [path.parent.parent / below / tag for below in (".", "images")]
    folder = next((each for each in folders if each.is_dir()), folders[0])
    problems: dict[str, list[str]] = {}
    records = []
    for each in found.annotations:
        unknown = [str(part.category_id) for part in each.segments_info if part.category_id not in classes]
        if each.image_id not in images:
            problems.setdefault("of no image that is listed", []).append(each.file_name)
        elif unknown:
            problems.setdefault("with a category that is not listed", []).append(each.file_name)
        elif not (masks / each.file_name).is_file() or not (folder / images[each.image_id]).is_file():
            problems.setdefault(f"whose files are missing in {masks.name} or {tag}", []).append(
                each.file_name
            )
        else:
            segments = {part.id: classes[part.category_id] for part in each.segments_info}
            labels = PanopticLabels(masks / each.file_name, segments)
            records.append(MaskRecord(images[each.image_id], folder / images[each.image_id], labels))
    if problems:
        raise DataError(
            [
                Problem(str(path), f"{len(files):,} annotations {kind}: {few(files)}")
                for kind, files in problems.items()
            ]
        )
    return tuple(records), tuple(names[number] for number in sorted(names))
