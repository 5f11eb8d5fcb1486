"""Open what a SOURCE names for semantic segmentation: its layout, its classes, a digest of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from hmhsa_insert.detection.make_shapes import SHAPES_SET, shapes_folder
from hmhsa_insert.errors import Problem
from hmhsa_insert.files.machine import cores
from hmhsa_insert.files.text import CONFIG, read_file
from hmhsa_insert.segmentation.coco_masks import (
    has_annotations,
    open_objects,
    panoptic_files,
    panoptic_records,
)
from hmhsa_insert.segmentation.labels import MOST, FileLabels, Numbering, PanopticLabels, read_numbers
from hmhsa_insert.segmentation.layouts import Found, read_layout
from hmhsa_insert.segmentation.mask_data import MaskData, MaskRecord, MaskSplit
from hmhsa_insert.segmentation.pairs import Pairs
from hmhsa_insert.segmentation.schema import MaskReadSettings
from hmhsa_insert.training.data.digests import CONTENTS, Watch, file_digests
from hmhsa_insert.training.data.tree import File, stamp_of
from hmhsa_insert.training.problems import DataError

_MOST_LOOKED_AT = (
    2000  # masks, where the classes are known: all of a large set would be waited for at every start
)
_WHITE = 255


def open_masks(
    source: str,
    data_dir: str | Path | None = None,
    loader: MaskReadSettings | None = None,
    watch: Watch | None = None,
) -> MaskData:
    """Open images and masks.

    Args:
        source: ``shapes`` (drawn in `data_dir` if need be); a folder of images and masks, of VOC, ADE20K or COCO; a
            CSV file of paths.
        data_dir: where ``shapes`` is drawn.
        loader: the label that is ignored, the share of a validation split where there is none.
        watch: called with how many files are read, and of how many.

    Raises:
        DataError: it is missing, has no images and masks, or masks that cannot be used.
    """
    loader = loader or MaskReadSettings()
    if source == SHAPES_SET:
        root = shapes_folder(data_dir)
        data = open_objects(root, loader.corrupt, watch)
        said = f"the set is in {root}, drawn there on first use"
        return replace(data, source=source, notes=(said, *data.notes))
    root = Path(source)
    if (files := panoptic_files(root)) is not None:
        return _panoptic(source, root, files, watch)
    if root.is_dir() and has_annotations(root):
        return replace(open_objects(root, loader.corrupt, watch), source=source)
    return _of_files(source, root, read_layout(root), loader, watch)


def _panoptic(source: str, root: Path, files: tuple[Path, Path], watch: Watch | None) -> MaskData:
    (train, classes), (val, others) = (panoptic_records(path) for path in files)
    if classes != others:
        message = f"its categories are not those of {files[0].name}"
        raise DataError(Problem(str(files[1]), message, "both files must list the same categories"))
    names, contents = _fingerprints(root, (train, val), classes, watch)
    notes = ("things and stuff of COCO's panoptic masks; pixels without a segment are ignored",)
    return MaskData(source, MaskSplit(train), MaskSplit(val), classes, contents, notes, names)


def _of_files(
    source: str, root: Path, found: Found, loader: MaskReadSettings, watch: Watch | None
) -> MaskData:
    both = [each for each in (found.train, found.val) if each is not None]
    folder = root if root.is_dir() else root.parent
    names = found.classes or _named(folder / "classes.txt")
    masks = [mask for pairs in both for _, _, mask in pairs.found]
    numbers = _numbers(masks, every=names is None, ignored=loader.ignore)
    zero = found.zero_ignored if loader.zero == "auto" else loader.zero == "ignore"
    numbering, classes, notes = _numbering(folder, names, numbers, zero, loader.ignore)
    train, val, whole = _splits([_records(pairs, numbering) for pairs in both], loader.val_share)
    said = [
        f"read as {found.layout}: {len(classes)} classes",
        *notes,
        *(note for each in both for note in each.notes),
    ]
    if whole is not None:
        held = f"no validation split: {len(val):,} of {len(whole):,} images held out, {len(train):,} for training"
        said.append(held)
    digest, contents = _fingerprints(folder, (train, val), classes, watch)
    whole_split = MaskSplit(whole) if whole is not None else None
    return MaskData(
        source, MaskSplit(train), MaskSplit(val), classes, contents, tuple(said), digest, whole_split
    )


def _named(path: Path) -> tuple[str, ...] | None:
    """Return the classes that a file names, one a line; None where there is no such file."""
    if not path.is_file():
        return None
    names = tuple(line.strip() for line in read_file(path, DataError, CONFIG).splitlines() if line.strip())
    twice = {name for name in names if names.count(name) > 1}
    if not names or twice:
        message = f"it names '{sorted(twice)[0]}' twice" if twice else "it names no class"
        raise DataError(Problem(str(path), message, "one name a line, in the order of the labels"))
    return names


def _numbers(masks: Sequence[Path], every: bool, ignored: int) -> dict[int, Path]:
    """Return which numbers are in masks, each with a file that has it; of a large set with known classes a sample."""
    step = 1 if every else -(-len(masks) // _MOST_LOOKED_AT)
    looked_at = masks[::step]
    found: dict[int, Path] = {}
    problems: list[Problem] = []

    def present(path: Path) -> list[int] | DataError:
        try:
            return np.flatnonzero(np.bincount(read_numbers(path).ravel())).tolist()
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(8, cores())) as pool:
        for path, numbers in zip(looked_at, pool.map(present, looked_at), strict=True):
            if isinstance(numbers, DataError):
                problems += numbers.problems
            else:
                for number in numbers:
                    found.setdefault(number, path)
    if not found or all(number == ignored for number in found):
        raise DataError(problems or [Problem(str(masks[0].parent), "no pixel of a mask has a class")])
    return found


def _numbering(
    root: Path, names: tuple[str, ...] | None, numbers: dict[int, Path], zero_ignored: bool, ignored: int
) -> tuple[Numbering, tuple[str, ...], list[str]]:
    """Return which class each number is, the names of the classes, and what was decided."""
    first = 1 if zero_ignored else 0
    notes = ["label 0 stands for no class"] if zero_ignored else []
    leave = frozenset({ignored} | ({0} if zero_ignored else set()))
    if names is None and set(numbers) == {0, _WHITE} and not zero_ignored:
        notes.append(f"masks of 0 and {_WHITE} alone: {_WHITE} is a class of its own")
        return Numbering({0: 0, _WHITE: 1}, frozenset()), ("0", str(_WHITE)), notes
    there = sorted(set(numbers) - leave)
    if not there:
        raise DataError(Problem(str(root), "no pixel of a mask has a class"))
    if names is None:
        count = there[-1] - first + 1
        if count > MOST // 8:
            message = f"label {there[-1]:,} would make {count:,} classes"
            raise DataError(Problem(numbers[there[-1]].name, message, "name the classes in classes.txt"))
        names = tuple(str(number) for number in range(first, there[-1] + 1))
        notes.append("classes are called by their numbers; a file classes.txt names them, one a line")
    classes = {first + place: place for place in range(len(names)) if first + place not in leave}
    if outside := [number for number in there if number not in classes]:
        message = (
            f"label {outside[0]} is none of the {len(names)} classes ({first} to {first + len(names) - 1})"
        )
        tip = f"`overrides=['loader.ignore={outside[0]}']` leaves it out"
        raise DataError(Problem(str(numbers[outside[0]]), message, tip))
    return Numbering(classes, leave), names, notes


def _records(pairs: Pairs, numbering: Numbering) -> tuple[MaskRecord, ...]:
    return tuple(MaskRecord(name, image, FileLabels(mask, numbering)) for name, image, mask in pairs.found)


def _splits(
    parts: Sequence[tuple[MaskRecord, ...]], share: float
) -> tuple[tuple[MaskRecord, ...], tuple[MaskRecord, ...], tuple[MaskRecord, ...] | None]:
    """Return training and validation images, and what they were parted from, always alike."""
    if len(parts) == 2:
        return parts[0], parts[1], None
    (whole,) = parts
    if len(whole) < 2:
        raise DataError(Problem(whole[0].name, "one image makes no training and validation split"))
    held = min(max(1, round(share * len(whole))), len(whole) - 1)
    chosen = set(np.random.default_rng(0).permutation(len(whole))[:held].tolist())
    train = tuple(each for place, each in enumerate(whole) if place not in chosen)
    return train, tuple(whole[place] for place in sorted(chosen)), whole


def _fingerprints(
    root: Path, splits: Iterable[tuple[MaskRecord, ...]], classes: tuple[str, ...], watch: Watch | None
) -> tuple[str, str]:
    """Return the digest of names and classes, and that of what is in the files as well."""
    names = hashlib.sha256("\0".join(classes).encode())
    files = []
    for split in splits:
        names.update(f"\n{len(split)}".encode())
        for record in split:
            names.update(f"\0{record.name}".encode(errors="surrogateescape"))
            masks = [record.labels.path] if isinstance(record.labels, FileLabels | PanopticLabels) else []
            files += [_file(root, path) for path in (record.image, *masks)]
    named = names.hexdigest()[:16]
    whole = hashlib.sha256(named.encode() + b"".join(file_digests(root, files, watch)))
    return named, CONTENTS + whole.hexdigest()[:24]


def _file(root: Path, path: Path) -> File:
    status = path.stat()
    return File(os.path.relpath(path, root), status.st_size, stamp_of(status))
