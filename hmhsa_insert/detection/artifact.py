"""A detector as a folder of plain data, which builds it again bit for bit: ``detector.json`` says how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from hmhsa_insert.detection.coco_data import CocoData
from hmhsa_insert.detection.detector import DETECTORS, DetectorRecord, detector, detector_record
from hmhsa_insert.errors import Problem
from hmhsa_insert.files.shapes import Shape
from hmhsa_insert.surgery.artifact.around import Stored, Whole, WholeShape
from hmhsa_insert.surgery.edit.splice import Ledger
from hmhsa_insert.training.problems import DataError

DETECTOR = "detector.json"


def save(model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a detector, as :func:`hmhsa_insert.save` does."""
    return _DETECTOR.save(model, folder, overwrite=overwrite)


def load(folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False) -> nn.Module:
    """Rebuild a detector, as :func:`hmhsa_insert.load` does."""
    return _DETECTOR.load(folder, base, allow_code=allow_code)


def read_record(folder: str | Path) -> tuple[dict[str, Any], list[Ledger]]:
    """Return the record of the backbone's base network, and what was done to it, without building anything."""
    stored = read_detector(folder)
    return stored.base, stored.plans


def is_detector(folder: str | Path) -> bool:
    """Return True if a path is the folder of a detector."""
    return _DETECTOR.is_folder(folder)


def read_detector(folder: str | Path) -> Stored[DetectorRecord]:
    """Return what the folder of a detector says, without building it.

    Raises:
        ArtifactError: not a detector's, of a newer format, or damaged.
    """
    return _DETECTOR.read(folder)


class _Category(Shape):
    id: int
    name: str


class _Written(WholeShape):
    """The content of ``detector.json``."""

    kind: str
    num_classes: int = Field(ge=2, le=100_000)
    categories: list[_Category]
    input_size: list[int]
    options: dict[str, bool | int | float | list[int] | list[float] | None]


def _as_data(record: DetectorRecord) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "num_classes": record.num_classes,
        "categories": [{"id": number, "name": name} for number, name in record.categories.items()],
        "input_size": list(record.input_size),
        "options": dict(record.options),
    }


def _from_data(written: _Written) -> DetectorRecord:
    return DetectorRecord(
        written.kind,
        written.num_classes,
        {each.id: each.name for each in written.categories},
        tuple(written.input_size),
        written.options,
    )


def _build(record: DetectorRecord, network: nn.Module) -> nn.Module:
    return detector(
        record.kind,
        network,
        record.num_classes,
        categories=record.categories or None,
        input_size=record.input_size,
        **record.options,
    )


def _said(record: DetectorRecord) -> tuple[str, str]:
    return DETECTORS[record.kind].title, f"Classes: {record.num_classes - 1} and the background"


_DETECTOR = Whole(
    what="detector",
    file=DETECTOR,
    body="backbone.body",
    tip="hi.save(detector, DIR) and `hmhsa-insert train --task detect` write one",
    shape=_Written,
    record_of=detector_record,
    source_of=lambda record: record.source,
    as_data=_as_data,
    from_data=_from_data,
    build=_build,
    said=_said,
)


def check_categories(record: DetectorRecord, data: CocoData) -> None:
    """Compare the categories of a data set with those of a detector.

    Raises:
        DataError: they differ.
    """
    known = record.categories
    here = dict(zip(data.category_ids, data.classes, strict=True))
    if known and dict(known) != here:
        message = f"its categories are {_listed(here)}, and the detector's {_listed(known)}"
        raise DataError(Problem(data.source, message))


def _listed(categories: Mapping[int, str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in list(categories.items())[:8])
