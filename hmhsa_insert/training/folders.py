"""Image folders and tar files: their splits and classes, checked before anything is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from timm.data import create_dataset

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.images import FileImages, Images
from hmhsa_insert.training.problems import DataError

TRAIN_NAMES = ("train", "training")
VAL_NAMES = ("validation", "val", "valid", "eval", "evaluation", "test")
_SHOWN = 4
_TIP = "give a folder with one subfolder a class, or with train and val folders (or tar files) of such"


def read_folder(root: Path) -> tuple[Images, Images | None, tuple[str, ...]]:
    """Return the training split, the validation split if there is one, and the classes of a folder or tar file.

    Raises:
        DataError: nothing is there, or it holds no images; a class is empty, or is in one split only.
    """
    if not os.path.exists(root):
        raise DataError(Problem(str(root), "there is no such folder", _TIP))
    train_root = find_split(root, TRAIN_NAMES)
    val_root = find_split(root, VAL_NAMES) if train_root else None
    train, classes = _read_split(train_root or root)
    _refuse_empty(train_root or root, classes)
    if val_root is None:
        return FileImages(train), None, tuple(classes)
    _, val_classes = _read_split(val_root)
    _compare(train_root or root, classes, val_root, val_classes)
    # Numbered by the training split's classes: timm numbers each split by itself, and one with fewer classes wrongly.
    val, _ = _read_split(val_root, class_map=classes)
    return FileImages(train), FileImages(val), tuple(classes)


def find_split(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder or tar file of a split below `root`."""
    if not os.path.isdir(root):
        return None
    candidates = (root / each for name in names for each in (name, f"{name}.tar"))
    return next((path for path in candidates if path.exists()), None)


def _read_split(root: Path, class_map: dict[str, int] | None = None) -> tuple[Any, dict[str, int]]:
    """Return timm's data set of one split, and its classes' numbers, in order."""
    # A tar file is opened for every image: one kept open would be shared with forked workers, its position too.
    extra: dict[str, Any] = {"cache_tarfiles": False, "cache_tarinfo": False} if root.is_file() else {}
    try:
        dataset = create_dataset("", root=str(root), search_split=False, class_map=class_map, **extra)
    except Exception as error:  # timm's readers fail by assertion, RuntimeError and what tarfile raises
        reason = str(error).splitlines()[0].partition(". Supported")[0] if str(error) else "no images found"
        raise DataError(Problem(str(root), reason, _TIP)) from error
    classes = getattr(dataset.reader, "class_to_idx", None) or dataset.reader.class_name_to_idx
    return dataset, dict(sorted(classes.items(), key=lambda item: item[1]))


def _refuse_empty(root: Path, classes: dict[str, int]) -> None:
    """Raise if a class's folder has no images, which timm would leave out without a word."""
    if "" in classes:
        message = "images lie in this folder itself, in no class"
        raise DataError(Problem(str(root), message, _TIP))
    if len(classes) < 2:
        message = f"holds {len(classes)} class: {', '.join(classes)}"
        raise DataError(Problem(str(root), message, _TIP))
    if root.is_dir():
        folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and _is_leaf(entry))
        empty = [name for name in folders if name not in classes]
        if empty:
            tip = "add images, or remove the folder"
            raise DataError(Problem(str(root / empty[0]), f"no images in class {_listed(empty)}", tip))


def _is_leaf(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and not any(child.is_dir() for child in os.scandir(entry.path))


def _compare(train_root: Path, train: dict[str, int], val_root: Path, val: dict[str, int]) -> None:
    unknown = [name for name in val if name not in train]
    missing = [name for name in train if name not in val]
    problems = []
    if unknown:
        problems.append(Problem(str(val_root), f"holds {_listed(unknown)}, unknown in {train_root}"))
    if missing:
        tip = "give every class an image in both, or none"
        problems.append(Problem(str(val_root), f"no images in class {_listed(missing)}", tip))
    if problems:
        raise DataError(problems)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
