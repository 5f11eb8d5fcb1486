"""The record of a training run, from the files its folder keeps; read as data, so that no torch is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json, read_json_mapping
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.files.run_shapes import (
    Accuracy,
    Costs,
    DetectorImages,
    Image,
    NamedRun,
    Precision,
    scores_written,
)
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.record_shapes import Scores

_CONFIG, _RESULT, _ENVIRONMENT = "config.yaml", "result.json", "environment.json"
_COSTS = tuple(Costs.model_fields)


def is_run(folder: Path) -> bool:
    """Return True if `folder` is that of a training run."""
    return os.path.isfile(folder / _CONFIG)


def run_record(folder: Path) -> dict[str, Any]:
    """Return what a finished run reached, as a record of kind ``training``.

    It is called as a profile of the same network and recipe is, so that both become one row.

    Raises:
        ReportError: the run is not finished, or its files are damaged.
    """
    if not (folder / _RESULT).is_file():
        raise ReportError(Problem(str(folder), "this run is not finished: it has no result yet"))
    path = folder / _CONFIG
    written = read_yaml(path, ReportError)
    config = checked(NamedRun, written, path, ReportError)
    result = read_json(folder / _RESULT, ReportError)
    reached = _reached(folder, config, result)
    network = ModelSpec(config.model).label
    group = network if config.around is None else f"{config.around} {network}"
    return {
        "kind": "training",
        "name": f"{group} + {config.recipe.name}" if config.recipe else group,
        "group": group,
        "input_size": _size(folder, config),
        **{name: result[name] for name in _COSTS if result.get(name) is not None},
        **reached,
        "data": f"{config.data.source}, {config.data.val:,} images",
        "run": {"config": written, "environment": _environment(folder), "folder": folder},
    }


class _Environment(Shape):
    versions: dict[str, str] | None = None


def _environment(folder: Path) -> dict[str, Any]:
    """Return where a run was made; nothing where its folder does not say."""
    path = folder / _ENVIRONMENT
    if not path.is_file():
        return {}
    found = read_json_mapping(path, ReportError)
    checked(_Environment, found, path, ReportError)
    return found


class _Reached(Shape):
    """What ``result.json`` says, whatever the task."""

    scores: Scores


def _reached(folder: Path, config: NamedRun, result: Any) -> dict[str, Any]:
    """Return the scores where a record has them; those without a row of their own where a task has no others."""
    path = folder / _RESULT
    if not (isinstance(result, dict) and "scores" in result):  # of version one
        checked(Accuracy if config.detector is None else Precision, result, path, ReportError)
    scores = checked(_Reached, scores_written(result), path, ReportError).scores
    known = {name: QUANTITIES[name] for name in scores if name in QUANTITIES}
    record: dict[str, Any] = {} if known else {"scores": scores}
    for name, quantity in known.items():
        value = scores[name]
        if value is not None and not quantity.kind.allows(value):
            raise ReportError(Problem(str(path), f"it is damaged: '{name}' cannot be {value:g}"))
        *outer, last = quantity.path
        place = record
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = value
    return record


def _size(folder: Path, config: NamedRun) -> list[int]:
    """Return the size of the images: of detectors, the largest that there can be."""
    where = f"{folder / _CONFIG}: settings"
    if "detector" in config.settings:
        sides = checked(DetectorImages, config.settings, where, ReportError).detector
        return [3, sides.min_size, sides.max_size]
    side = checked(Image, config.settings, where, ReportError).input_size
    return [3, side, side]
