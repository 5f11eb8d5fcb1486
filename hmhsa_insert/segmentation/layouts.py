"""Where data sets keep images and masks: a table of layouts, the first that fits a folder is read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.files.text import CONFIG, read_file
from hmhsa_insert.segmentation.pairs import Pairs, paired
from hmhsa_insert.training.problems import DataError

IMAGES = ("images", "image", "imgs", "img", "JPEGImages", "leftImg8bit")
MASKS = ("masks", "mask", "labels", "label", "annotations", "gt", "SegmentationClass")
SPLITS = (("train", "training"), ("val", "validation", "valid"))
_TIP = (
    "expected ROOT/images/train, ROOT/masks/train and the same of val; ROOT/train/images, ROOT/train/masks; "
    "ROOT/images, ROOT/masks; or the layout of VOC, ADE20K or COCO"
)
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)


@dataclass(frozen=True)
class Found:
    """What lies in a folder, its masks not read yet.

    Attributes:
        layout: what it is called in notes.
        train, val: images and masks; without `val`, some are held out.
        classes: their names; None: by the file ``classes.txt``, or by the numbers in the masks.
        zero_ignored: whether 0 stands for no class, and 1 for the first.
    """

    layout: str
    train: Pairs
    val: Pairs | None
    classes: tuple[str, ...] | None = None
    zero_ignored: bool = False


@dataclass(frozen=True)
class Layout:
    """A layout: whether a source has it, and what it then holds."""

    fits: Callable[[Path], bool]
    read: Callable[[Path], Found]


def read_layout(root: Path) -> Found:
    """Return the images and masks of a folder or a CSV file.

    Raises:
        DataError: there is no such folder, no layout fits it, or files are missing.
    """
    if not root.exists():
        raise DataError(Problem(str(root), "there is no such folder", _TIP))
    for layout in _LAYOUTS:
        if layout.fits(root):
            return layout.read(root)
    raise DataError(Problem(str(root), "no images and masks are found here", _TIP))


def _sub(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


# ---- a CSV file of paths


def _read_csv(path: Path) -> Found:
    rows = list(csv.reader(read_file(path, DataError, CONFIG).splitlines()))
    head = [name.strip() for name in rows[0]] if rows else []
    problems = [
        Problem(f"{path}:1", f"there is no column '{name}'", near(name, head) or "it needs image and mask")
        for name in ("image", "mask")
        if name not in head
    ]
    if problems:
        raise DataError(problems)
    parts = {0: Pairs(), 1: Pairs()}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        entry = dict(zip(head, row, strict=False))
        split = entry.get("split", "").strip().lower()
        number = next((i for i, words in enumerate(SPLITS) if split in words), 0 if not split else None)
        files = [path.parent / entry.get(name, "").strip() for name in ("image", "mask")]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            problems.append(Problem(f"{path}:{line}", f"there is no file {missing[0]}"))
        elif number is not None:  # other splits, such as test, are not read
            parts[number].found.append((entry["image"].strip(), files[0], files[1]))
    if not problems and not parts[0].found:
        problems.append(Problem(str(path), "no row is of the training split"))
    if problems:
        raise DataError(problems)
    return Found("a CSV file of paths", parts[0], parts[1] if parts[1].found else None)


# ---- VOC


def _voc_root(root: Path) -> Path | None:
    below = sorted(root.glob("VOC*")) + sorted(root.glob("VOCdevkit/VOC*"))
    roots = [root, *reversed(below)]
    return next(
        (each for each in roots if (each / "SegmentationClass").is_dir() and (each / "JPEGImages").is_dir()),
        None,
    )


def _read_voc(root: Path) -> Found:
    voc = _voc_root(root)
    assert voc is not None
    lists = [voc / "ImageSets" / "Segmentation" / f"{name}.txt" for name in ("train", "val")]
    if missing := [path for path in lists if not path.is_file()]:
        raise DataError([Problem(str(path), "there is no list of this split's images") for path in missing])
    problems: list[Problem] = []
    train, val = (_listed(voc, path, problems) for path in lists)
    if problems:
        raise DataError(problems)
    return Found("VOC", train, val, None if (root / "classes.txt").is_file() else VOC_CLASSES)


def _listed(voc: Path, path: Path, problems: list[Problem]) -> Pairs:
    made = Pairs()
    for line, name in enumerate(read_file(path, DataError, CONFIG).split("\n"), 1):
        if not (name := name.strip()):
            continue
        image, mask = voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClass" / f"{name}.png"
        if missing := [file for file in (image, mask) if not file.is_file()]:
            problems.append(Problem(f"{path}:{line}", f"there is no file {missing[0].relative_to(voc)}"))
        else:
            made.found.append((image.name, image, mask))
    if not made.found and not problems:
        problems.append(Problem(str(path), "it lists no image"))
    return made


# ---- ADE20K


def _is_ade(root: Path) -> bool:
    return (root / "images" / "training").is_dir() and (root / "annotations" / "training").is_dir()


def _read_ade(root: Path) -> Found:
    train, val = (
        paired(root / "images" / name, root / "annotations" / name)
        if (root / "annotations" / name).is_dir()
        else None
        for name in ("training", "validation")
    )
    assert train is not None
    return Found("ADE20K", train, val, _ade_classes(root / "objectInfo150.txt"), zero_ignored=True)


def _ade_classes(path: Path) -> tuple[str, ...] | None:
    """Return the first name of each class of ADE20K's table; None where there is none."""
    if not path.is_file():
        return None
    lines = [line.split("\t") for line in read_file(path, DataError, CONFIG).splitlines()[1:] if line.strip()]
    names = tuple(line[-1].split(",")[0].strip() for line in lines)
    if not names or any(not name for name in names):
        raise DataError(Problem(str(path), "it does not name the classes", "its last column has their names"))
    return names


# ---- folders


def _folder_pairs(root: Path) -> tuple[tuple[Path, Path], tuple[Path, Path] | None] | None:
    """Return the folders of images and masks of both splits."""
    images, masks = _sub(root, IMAGES), _sub(root, MASKS)
    if images is not None and masks is not None:
        both = [_both(_sub(images, words), _sub(masks, words)) for words in SPLITS]
        return (both[0], both[1]) if both[0] is not None else ((images, masks), None)
    splits = [_sub(root, words) for words in SPLITS]
    both = [_both(_sub(each, IMAGES), _sub(each, MASKS)) if each is not None else None for each in splits]
    return (both[0], both[1]) if both[0] is not None else None


def _both(images: Path | None, masks: Path | None) -> tuple[Path, Path] | None:
    return (images, masks) if images is not None and masks is not None else None


def _read_folders(root: Path) -> Found:
    folders = _folder_pairs(root)
    assert folders is not None
    train, val = folders
    return Found("folders of images and masks", paired(*train), paired(*val) if val is not None else None)


_LAYOUTS = (
    Layout(lambda root: root.suffix.lower() == ".csv" and root.is_file(), _read_csv),
    Layout(lambda root: _voc_root(root) is not None, _read_voc),
    Layout(_is_ade, _read_ade),
    Layout(lambda root: _folder_pairs(root) is not None, _read_folders),
)
