"""The table of tasks. A row says where a task is, so that nobody who only names tasks has to import torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Argument, ArtifactError, HmhsaInsertError, Problem, near
from hmhsa_insert.files.json_text import read_json_mapping

# The task of runs, studies and calls that name none.
DEFAULT = "classify"


@dataclass(frozen=True)
class TaskRow:
    """One task.

    Attributes:
        does: what is learned, in a few words.
        load: returns its class, a :class:`~hmhsa_insert.training.task.Task`; torch is imported then.
        options: names of the arguments that it can use, of those that not every task can; all others are
            refused by name.
        made: returns True for a model of this task, or a folder, other than a run's, that holds one.
        artifact: the module whose ``save``, ``load`` and ``read_record`` write and read what `made` is True of.
        pipeline: what the Hugging Face Hub calls the task; empty if it has no name for it.
        settings: returns the class of its settings without importing torch; None: the class of the task says it.
    """

    does: str
    load: Callable[[], Any]
    options: frozenset[str] = frozenset()
    made: Callable[[Any], bool] = lambda model: False
    artifact: str = "hmhsa_insert.surgery.artifact.artifact"
    pipeline: str = ""
    settings: Callable[[], Any] | None = None


def _from(module: str, name: str) -> Callable[[], Any]:
    return partial(_imported, f"hmhsa_insert.tasks.{module}", name)


def _imported(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _is_detector(masks: bool, model: Any) -> bool:
    if isinstance(model, str | Path):
        path = Path(model, "detector.json")
        if not path.is_file():
            return False
        kind = read_json_mapping(path, ArtifactError).get("kind")
    else:
        kind = getattr(vars(model).get("_hmhsa_insert_detector"), "kind", None)
        if kind is None:
            return False
    return bool((kind == "maskrcnn") == masks)


def _is_segmenter(model: Any) -> bool:
    if isinstance(model, str | Path):
        return Path(model, "segmenter.json").is_file()
    return "_hmhsa_insert_segmenter" in vars(model)


_OF_IMAGES = frozenset({"data_dir", "pretrained", "renamed", "confusion", "weights"})
_OF_OBJECTS = frozenset({"detector", "output", "data_dir"})
_DETECT_SETTINGS = partial(_imported, "hmhsa_insert.detection.schema", "DetectSettings")

TASKS: dict[str, TaskRow] = {
    "classify": TaskRow(
        "one class for every image",
        _from("classify", "Classify"),
        _OF_IMAGES,
        pipeline="image-classification",
        settings=partial(_imported, "hmhsa_insert.training.schema", "ClassifySettings"),
    ),
    "detect": TaskRow(
        "boxes around objects",
        _from("detect", "Detect"),
        _OF_OBJECTS,
        partial(_is_detector, False),
        "hmhsa_insert.detection.artifact",
        "object-detection",
        _DETECT_SETTINGS,
    ),
    "segment": TaskRow(
        "boxes and masks of objects",
        _from("detect", "Segment"),
        _OF_OBJECTS,
        partial(_is_detector, True),
        "hmhsa_insert.detection.artifact",
        "image-segmentation",
        _DETECT_SETTINGS,
    ),
    "semantic": TaskRow(
        "one class for every pixel",
        _from("semantic", "Semantic"),
        frozenset({"decoder", "confusion", "data_dir"}),
        _is_segmenter,
        "hmhsa_insert.segmentation.artifact",
        "image-segmentation",
        partial(_imported, "hmhsa_insert.segmentation.schema", "SemanticSettings"),
    ),
}


def task_class(name: str, where: str = Argument("task")) -> Any:
    """Return the class of a task.

    Args:
        name: of the task.
        where: what names it, for the error.

    Raises:
        HmhsaInsertError: there is no such task.
    """
    return _row(name, where).load()


def settings_class(name: str, where: str = Argument("task")) -> Any:
    """Return the class of a task's settings; arguments and errors as :func:`task_class`."""
    row = _row(name, where)
    return row.settings() if row.settings else row.load().settings_type


def _row(name: str, where: str) -> TaskRow:
    if name not in TASKS:
        tip = f"{near(name, TASKS)} there are {', '.join(TASKS)}; `import MODULE` adds a task of your own".strip()
        raise HmhsaInsertError(Problem(where, f"there is no task '{name}'", tip))
    return TASKS[name]


def made_by(model: Any) -> str:
    """Return the task that a model or an artifact's folder belongs to; the default where no task says it is its own."""
    return next((name for name, row in TASKS.items() if row.made(model)), DEFAULT)


def refuse_options(task: str, given: Mapping[str, bool]) -> None:
    """Refuse the options that a task cannot use.

    Args:
        task: its name.
        given: argument -> whether the user gave it.

    Raises:
        HmhsaInsertError: all of them, with the tasks that can use each.
    """
    unused = [option for option, is_given in given.items() if is_given and option not in TASKS[task].options]
    problems = []
    for option in unused:
        others = [name for name, row in TASKS.items() if option in row.options]
        tip = f"goes with the task {' or '.join(others)}" if others else ""
        problems.append(Problem(Argument(option), f"the task '{task}' does not use it", tip))
    if problems:
        raise HmhsaInsertError(problems)
