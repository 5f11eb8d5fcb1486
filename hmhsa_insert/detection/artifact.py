"""A detector as a folder of plain data, which builds it again bit for bit.

``detector.json`` (kind, classes, categories, options; the backbone's base network and what was done to it),
``recipe.yaml`` if there is one, ``model.safetensors`` (all weights) and a short ``README.md``. No pickle; reading one
runs no code that the folder names.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field
from torch import nn

from hmhsa_insert.detection.coco_data import CocoData
from hmhsa_insert.detection.detector import DETECTORS, DetectorRecord, detector, detector_record
from hmhsa_insert.errors import ArtifactError, HmhsaInsertError, ModelError, Problem, within
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.inert import markdown, markdown_code
from hmhsa_insert.surgery.artifact import artifact
from hmhsa_insert.surgery.artifact.folder import write_folder
from hmhsa_insert.surgery.artifact.manifest import (
    FORMAT,
    WEIGHTS,
    base_as_data,
    build_base,
    check_base,
    check_format,
    is_rebuildable,
    plans_as_data,
    plans_from_data,
    write_json,
)
from hmhsa_insert.surgery.artifact.older import FolderKind
from hmhsa_insert.surgery.artifact.tensors import check_fit, check_sizes, fill, gather
from hmhsa_insert.surgery.base.fake import hollow_copy
from hmhsa_insert.surgery.edit.splice import Ledger, ledgers
from hmhsa_insert.training.problems import DataError

DETECTOR = "detector.json"
_TIP = "hi.save(detector, DIR) and `hmhsa-insert train --task detect` write one"


@dataclass(frozen=True)
class StoredDetector:
    """What the folder of a detector says, without building anything.

    Attributes:
        record: how the detector is built.
        base: of the backbone's base network, as an artifact's ``base.json``.
        plans: what was done to it.
        training, channels_last: mode and memory layout.
    """

    record: DetectorRecord
    base: dict[str, Any]
    plans: list[Ledger]
    training: bool
    channels_last: bool


def save(model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a detector, as :func:`hmhsa_insert.save` does."""
    record = detector_record(model)
    if record is None:
        raise ModelError(Problem(type(model).__name__, "this is not a detector", "build it with hi.detector"))
    body = model.get_submodule("backbone.body")
    done = ledgers(body)
    tensors = gather(model, done)
    data = {
        "format": FORMAT,
        "kind": record.kind,
        "num_classes": record.num_classes,
        "categories": [{"id": number, "name": name} for number, name in record.categories.items()],
        "input_size": list(record.input_size),
        "options": dict(record.options),
        "training": model.training,
        "channels_last": tensors.channels_last,
        "base": base_as_data(record.source, type(body).__name__, tensors.aliases),
        "plans": plans_as_data(done),
    }

    def write(target: Path) -> None:
        artifact.write_recipes(target, done)
        write_json(target / DETECTOR, data)
        tensors.write(target)
        (target / "README.md").write_text(_readme(record, done), encoding="utf-8")

    return write_folder(Path(folder), write, _KIND, overwrite=overwrite)


def load(folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False) -> nn.Module:
    """Rebuild a detector, as :func:`hmhsa_insert.load` does."""
    target = Path(folder)
    stored = read_detector(target)
    if base is not None and ledgers(base):
        raise ArtifactError(
            Problem(type(base).__name__, "this base network is edited", "give hi.remove(base)")
        )
    path = target / DETECTOR
    if base is not None:
        hollow = hollow_copy(base)
    else:
        check_sizes(stored.base["kwargs"], path, target)
        hollow = build_base(path, stored.base, allow_code, meta=True)
    with torch.device("meta"):
        hollow = _rebuilt(artifact.respliced(hollow, stored.plans, path), stored, path)
    check_fit(hollow, ledgers(hollow.get_submodule("backbone.body")), target, stored.base["aliases"])
    network = copy.deepcopy(base) if base is not None else build_base(path, stored.base, allow_code)
    model = _rebuilt(artifact.respliced(network, stored.plans, path), stored, path)
    fill(model, ledgers(model.get_submodule("backbone.body")), target, stored.base["aliases"])
    if stored.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model.train(stored.training)


def read_record(folder: str | Path) -> tuple[dict[str, Any], list[Ledger]]:
    """Return the record of the backbone's base network, and what was done to it, without building anything."""
    stored = read_detector(folder)
    return stored.base, stored.plans


def is_detector(folder: str | Path) -> bool:
    """Return True if a path is the folder of a detector."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in (DETECTOR, WEIGHTS))


def read_detector(folder: str | Path) -> StoredDetector:
    """Return what the folder of a detector says, without building it.

    Raises:
        ArtifactError: not a detector's, of a newer format, or damaged.
    """
    target = Path(folder)
    path = target / DETECTOR
    missing = [name for name in (DETECTOR, WEIGHTS) if not (target / name).is_file()]
    if missing:
        there = target.is_dir()
        message = f"this is not a detector: it has no {missing[0]}" if there else "there is no such folder"
        raise ArtifactError(Problem(str(target), message, _TIP))
    data = read_json_mapping(path, ArtifactError)
    check_format(path, data)
    written = checked(_Written, data, path, ArtifactError)
    record = DetectorRecord(
        written.kind,
        written.num_classes,
        {each.id: each.name for each in written.categories},
        tuple(written.input_size),
        written.options,
    )
    base = check_base(path, written.base)
    plans = plans_from_data(path, written.plans)
    return StoredDetector(record, base, plans, written.training, written.channels_last)


class _Category(Shape):
    id: int
    name: str


class _Written(Shape):
    """The content of ``detector.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int
    kind: str
    num_classes: int = Field(ge=2, le=100_000)
    categories: list[_Category]
    input_size: list[int]
    options: dict[str, bool | int | float | list[int] | list[float] | None]
    training: bool
    channels_last: bool
    base: dict[str, Any]
    plans: list[Any]


_KIND = FolderKind((DETECTOR,), lambda folder: [each.plan.recipe for each in read_detector(folder).plans])


def _rebuilt(network: nn.Module, stored: StoredDetector, path: Path) -> nn.Module:
    """Build a detector around its network; what the folder asks for may be nothing that can be built."""
    record = stored.record
    try:
        model = detector(
            record.kind,
            network,
            record.num_classes,
            categories=record.categories or None,
            input_size=record.input_size,
            **record.options,
        )
    except HmhsaInsertError as error:
        raise ArtifactError(within(path, error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(Problem(str(path), f"it says no detector that can be built: {error}")) from error
    return model


def _readme(record: DetectorRecord, done: list[Ledger]) -> str:
    source = record.source
    base = "" if source and is_rebuildable(source) else ", base=THE_BASE_NETWORK"
    recipes = ", ".join(markdown(str(ledger.plan.recipe["name"])) for ledger in done) or "none"
    lines = [f"# {DETECTORS[record.kind].title}", "", "Made by hmhsa-insert. Load it with:", ""]
    lines += ["```python", "import hmhsa_insert as hi", f'model = hi.load("THIS_FOLDER"{base})', "```", ""]
    spec = markdown_code(source.spec if source else "a network of your own")
    lines += [f"Backbone: {spec}, recipes: {recipes}", ""]
    lines += [f"Classes: {record.num_classes - 1} and the background"]
    return "\n".join(lines) + "\n"


def check_categories(record: DetectorRecord, data: CocoData) -> None:
    """Compare the categories of a data set with those of a detector.

    Raises:
        DataError: they differ.
    """
    known = record.categories
    here = dict(zip(data.category_ids, data.classes, strict=True))
    if known and dict(known) != here:
        message = f"its categories are {_said(here)}, and the detector's {_said(known)}"
        raise DataError(Problem(data.source, message))


def _said(categories: Mapping[int, str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in list(categories.items())[:8])
