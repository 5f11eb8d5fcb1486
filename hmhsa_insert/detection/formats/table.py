"""The table of formats of labels. To add one: a file with a class derived from `Format`, and a row."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.detection.formats.coco import Coco
from hmhsa_insert.detection.formats.csv_file import Csv
from hmhsa_insert.detection.formats.format import Format, Part
from hmhsa_insert.detection.formats.masks import Masks
from hmhsa_insert.detection.formats.voc import Voc
from hmhsa_insert.detection.formats.yolo import Yolo
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.problems import DataError

# In the order in which a folder is asked what it holds.
FORMATS: Mapping[str, Format] = {each.name: each for each in (Coco(), Yolo(), Voc(), Csv(), Masks())}
_MAKES = "hmhsa-insert data make-shapes ROOT makes such a set"


@dataclass(frozen=True)
class Found:
    """What a source is.

    Attributes:
        format: of its labels.
        root: its folder, or the file that describes it.
        notes: in one line, what was found, and what was not read beside it.
    """

    format: Format
    root: Path
    notes: tuple[str, ...]


def find_format(source: str) -> Found:
    """Return what a source is, by what is in its folder; ``NAME:FOLDER`` says it.

    Raises:
        DataError: there is nothing, or nothing of a known format.
    """
    name, colon, rest = source.partition(":")
    if colon and name in FORMATS and FORMATS[name].layout and not os.path.exists(source):
        return Found(FORMATS[name], Path(rest), (f"labels: {FORMATS[name].title}",))
    root = Path(source)
    if not root.exists():
        tip = f"expected ROOT/{FORMATS['coco'].layout}; {_MAKES}"
        raise DataError(Problem(source, "there is no such folder", tip))
    found, broken = [], []
    for each in FORMATS.values():
        try:
            found += [each] if each.find(root) else []
        except DataError as error:
            broken.append(error)
    if not found and broken:
        raise broken[0]
    if not found:
        layouts = "; ".join(f"{each.title}: {each.layout}" for each in FORMATS.values() if each.layout)
        raise DataError(Problem(source, "there are no labels of a known format", f"{layouts}; {_MAKES}"))
    first, *others = found
    said = f"labels: {first.title}"
    if others:
        titles = " and ".join(each.title for each in others)
        said += f", not {titles}, which are here too (`data='{others[0].name}:{source}'` reads those)"
    return Found(first, root, (said,))


def read_splits(
    format: Format, root: Path, splits: Sequence[str], masks: bool, watch: Watch | None = None
) -> dict[str, Part]:
    """Return splits that must be there.

    Raises:
        DataError: one is missing, or their files cannot be used; all that is missing together.
    """
    tip = f"expected ROOT/{format.layout}; {_MAKES}"
    if not root.exists():
        raise DataError(Problem(str(root), "there is no such folder", tip))
    places = format.find(root)
    missing = [split for split in splits if split not in places]
    if missing:
        raise DataError(
            [Problem(str(root), f"no {format.labels} of the {split} split", tip) for split in missing]
        )
    if masks and not format.masks:
        able = " or ".join(each.title for each in FORMATS.values() if each.masks and each.layout)
        raise DataError(
            Problem(str(root), f"{format.title} have boxes alone, and masks are needed", f"{able} have masks")
        )
    return format.read({split: places[split] for split in splits}, masks, watch)
