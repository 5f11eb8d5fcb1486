"""Which mask belongs to which image: the same path below its folder, up to endings and words such as ``_mask``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.pictures import ending, picture_endings
from hmhsa_insert.training.names import few_shown, order
from hmhsa_insert.training.problems import DataError

_WORDS = re.compile(
    r"[_\- .](?:mask|masks|label|labels|labelids|labeltrainids|gt|seg|segmentation|image|img)\Z", re.I
)


@dataclass
class Pairs:
    """Images with their masks.

    Attributes:
        found: name of the image, its file, the mask's file.
        notes: what was left out.
    """

    found: list[tuple[str, Path, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def paired(images: Path, masks: Path) -> Pairs:
    """Return the images of a folder that have a mask in another one, in the order of their names.

    Raises:
        DataError: none has, or two files have one name.
    """
    pictures, labels = _files(images), _files(masks)
    both = [key for key in sorted(pictures, key=order) if key in labels]
    if not both:
        said = few_shown([path.name for path in list(pictures.values())[:2]]) or "no image"
        other = few_shown([path.name for path in list(labels.values())[:2]]) or "no mask"
        message = f"no image has a mask of its name: {said} in {images.name}, {other} in {masks.name}"
        tip = "masks are called as their images are: a.jpg and a.png, or a_mask.png"
        raise DataError(Problem(str(masks), message, tip))
    made = Pairs([(str(pictures[key].relative_to(images)), pictures[key], labels[key]) for key in both])
    for words, there, others in (
        ("images without a mask", pictures, labels),
        ("masks without an image", labels, pictures),
    ):
        alone = [there[key].name for key in sorted(there, key=order) if key not in others]
        if alone:
            made.notes.append(f"{len(alone):,} {words} left out: {few_shown(alone)}")
    return made


def _files(root: Path) -> dict[str, Path]:
    """Return the pictures below a folder by what their paths share with those of their masks or images."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        if any(part.startswith(".") for part in below.parts) or ending(path.name) not in picture_endings():
            continue
        key = _WORDS.sub("", below.with_suffix("").as_posix())
        if key in found:
            message = f"{found[key].relative_to(root)} and {below} have one name"
            raise DataError(Problem(str(root), message, "keep one of them, or rename it"))
        found[key] = path
    return found
