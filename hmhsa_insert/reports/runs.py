"""The record of a training run, from the files its folder keeps; read as data, so that no torch is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.run_shapes import Accuracy, Costs, Image, Images, NamedRun, Precision
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.record_shapes import InputSize, Scores

_CONFIG, _RESULT = "config.yaml", "result.json"
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
    config = checked(NamedRun, read_yaml(path, ReportError), path, ReportError)
    result = read_json(folder / _RESULT, ReportError)
    reached, size = _reader(config, result)(folder, config, result)
    network = Path(config.model.rpartition(":")[2]).name
    group = network if config.detector is None else f"{config.detector} {network}"
    return {
        "kind": "training",
        "name": f"{group} + {config.recipe.name}" if config.recipe else group,
        "group": group,
        "input_size": size,
        **{name: result[name] for name in _COSTS if result.get(name) is not None},
        **reached,
        "data": f"{config.data.source}, {config.data.val:,} images",
    }


class _Reached(Shape):
    """The ``result.json`` of a task that only its own code knows."""

    scores: Scores
    input_size: InputSize | None = None


def _reader(
    config: NamedRun, result: Any
) -> Callable[[Path, NamedRun, Any], tuple[dict[str, Any], list[int]]]:
    """Return what reads a result of this kind."""
    if isinstance(result, dict) and "scores" in result:
        return _others
    return _classification if config.detector is None else _detection


def _others(folder: Path, config: NamedRun, result: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the scores of another task, and the size of the images: the result's, or the settings'."""
    reached = checked(_Reached, result, folder / _RESULT, ReportError)
    size = reached.input_size or _square(folder, config)
    return {"scores": reached.scores}, size


def _square(folder: Path, config: NamedRun) -> list[int]:
    side = checked(Image, config.settings, f"{folder / _CONFIG}: settings", ReportError).input_size
    return [3, side, side]


def _classification(folder: Path, config: NamedRun, result: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the accuracy in percent, and the size of the images."""
    size = _square(folder, config)
    return {"top1": checked(Accuracy, result, folder / _RESULT, ReportError).top1}, size


def _detection(folder: Path, config: NamedRun, result: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the averages of boxes and masks as shares, and the largest size of the images."""
    sides = checked(Images, config.settings, f"{folder / _CONFIG}: settings", ReportError).detector
    reached = checked(Precision, result, folder / _RESULT, ReportError)
    found = {kind: each.model_dump() for kind, each in (("box", reached.box), ("mask", reached.mask)) if each}
    return found, [3, sides.min_size, sides.max_size]
