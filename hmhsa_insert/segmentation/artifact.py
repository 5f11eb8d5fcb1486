"""A segmenter as a folder of plain data, which builds it again bit for bit: ``segmenter.json`` says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.segmentation.decoders import DECODERS
from hmhsa_insert.segmentation.mask_data import MaskData
from hmhsa_insert.segmentation.segmenter import SegmenterRecord, segmenter, segmenter_record
from hmhsa_insert.surgery.artifact.around import Stored, Whole, WholeShape
from hmhsa_insert.surgery.edit.splice import Ledger
from hmhsa_insert.training.problems import DataError

SEGMENTER = "segmenter.json"
BODY = "body"


def save(model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a segmenter, as :func:`hmhsa_insert.save` does."""
    return _SEGMENTER.save(model, folder, overwrite=overwrite)


def load(folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False) -> nn.Module:
    """Rebuild a segmenter, as :func:`hmhsa_insert.load` does."""
    return _SEGMENTER.load(folder, base, allow_code=allow_code)


def read_record(folder: str | Path) -> tuple[dict[str, Any], list[Ledger]]:
    """Return the record of the backbone's base network, and what was done to it, without building anything."""
    stored = read_segmenter(folder)
    return stored.base, stored.plans


def is_segmenter(folder: str | Path) -> bool:
    """Return True if a path is the folder of a segmenter."""
    return _SEGMENTER.is_folder(folder)


def read_segmenter(folder: str | Path) -> Stored[SegmenterRecord]:
    """Return what the folder of a segmenter says, without building it.

    Raises:
        ArtifactError: not a segmenter's, of a newer format, or damaged.
    """
    return _SEGMENTER.read(folder)


def check_classes(record: SegmenterRecord, data: MaskData) -> None:
    """Compare the classes of a data set with those of a segmenter.

    Raises:
        DataError: there are more or fewer, or they are called otherwise.
    """
    if record.num_classes != data.num_classes:
        message = f"it has {data.num_classes} classes, and the segmenter {record.num_classes}"
        raise DataError(Problem(data.source, message))
    pairs = zip(record.classes, data.classes, strict=False)
    if different := [(place, theirs, own) for place, (theirs, own) in enumerate(pairs) if theirs != own]:
        place, theirs, own = different[0]
        message = f"its class {place} is '{own}', and the segmenter's '{theirs}'"
        raise DataError(Problem(data.source, message))


class _Written(WholeShape):
    """The content of ``segmenter.json``."""

    decoder: str
    num_classes: int = Field(ge=1, le=100_000)
    classes: list[str]
    input_size: list[int]
    options: dict[str, bool | int | float | str | list[int] | list[float] | None]


def _as_data(record: SegmenterRecord) -> dict[str, Any]:
    return {
        "decoder": record.decoder,
        "num_classes": record.num_classes,
        "classes": list(record.classes),
        "input_size": list(record.input_size),
        "options": dict(record.options),
    }


def _from_data(written: _Written) -> SegmenterRecord:
    return SegmenterRecord(
        written.decoder,
        written.num_classes,
        tuple(written.classes),
        tuple(written.input_size),
        written.options,
    )


def _build(record: SegmenterRecord, network: nn.Module) -> nn.Module:
    return segmenter(
        record.decoder,
        network,
        record.num_classes,
        classes=record.classes,
        input_size=record.input_size,
        **record.options,
    )


def _said(record: SegmenterRecord) -> tuple[str, str]:
    return DECODERS[record.decoder].title, f"Classes: {record.num_classes}"


_SEGMENTER = Whole(
    what="segmenter",
    file=SEGMENTER,
    body=BODY,
    tip="hi.save(segmenter, DIR) and `hmhsa-insert train --task semantic` write one",
    shape=_Written,
    record_of=segmenter_record,
    source_of=lambda record: record.source,
    as_data=_as_data,
    from_data=_from_data,
    build=_build,
    said=_said,
)
