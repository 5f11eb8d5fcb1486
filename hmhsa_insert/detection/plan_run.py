"""What a detector's run is, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.detection.coco_data import CocoData, open_coco
from hmhsa_insert.detection.detector import DETECTORS
from hmhsa_insert.detection.result import DetectResult
from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.detection.task import DetectTask, Name
from hmhsa_insert.errors import ModelError, Problem, near
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.plan_run import Run
from hmhsa_insert.training.settings import load_settings

_DEFAULT_DETECTOR: Mapping[Name, str] = {"detect": "retinanet", "segment": "maskrcnn"}
DEFAULT_SETTINGS = "coco_1x"


@dataclass(frozen=True)
class DetectRun(Run[DetectResult]):
    """A run of detection or segmentation, resolved and not begun; the model is the backbone.

    Attributes:
        data: the source, opened.
        settings: of the training.
        name_of_task: ``detect`` or ``segment``.
        detector: its kind.
    """

    data: CocoData
    settings: DetectSettings
    name_of_task: Name
    detector: str

    @property
    def task(self) -> DetectTask:
        """Detection or segmentation."""
        return DetectTask(
            self.name_of_task,
            self.detector,
            self.model,
            self.recipe,
            self.data,
            self.settings,
            self.seed,
            self.init_from,
            self.pretrained,
            self.allow_code,
        )

    @property
    def config(self) -> dict[str, Any]:
        """What determines the run, as plain data: what ``config.yaml`` holds."""
        return {"task": self.name_of_task, "detector": self.detector, **super().config}

    @property
    def name(self) -> str:
        """A name for tables and folders: detector, network, recipe, data, seed."""
        return f"{self.detector}-{super().name}"


def plan_detection(
    model: str | Path | nn.Module,
    data: str | Path | CocoData,
    *,
    task: Name = "detect",
    detector: str | None = None,
    recipe: str | Path | Mapping[str, Any] | None = None,
    settings: str | Path | Mapping[str, Any] | DetectSettings | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    init_from: str | Path | None = None,
    pretrained: bool = False,
    allow_code: bool = False,
    watch: Watch | None = None,
) -> DetectRun:
    """Resolve the run of a detector, for :func:`~hmhsa_insert.training.run.train_run`.

    Args:
        model: the backbone: what ``hi.load_model`` takes, the folder of an artifact, or a network, which is copied.
        data: the folder of a data set in COCO's format, or one that is open.
        task: ``detect`` or ``segment``.
        detector: its kind; None: RetinaNet, or Mask R-CNN to segment.
        recipe: a path, the name of a shipped recipe, or a dict; applied to the backbone.
        settings: a path, the name of shipped settings, or a dict; None: ``coco_1x``.
        overrides: ``key=value`` or ``section.key=value``.
        seed: of weights, blocks, order and draws.
        init_from: a checkpoint of the backbone's base network, by its own keys.
        pretrained: begin with the library's weights.
        allow_code: run the factory that an artifact names.
        watch: called with how many images are read, and of how many, while what is in them is digested.

    Raises:
        SettingsError, RecipeError, DataError: something cannot be read.
        ModelError: there is no such detector, or it does not do the task.
    """
    kind = detector or _DEFAULT_DETECTOR[task]
    _check(kind, task)
    chosen = settings if settings is not None else DEFAULT_SETTINGS
    if not isinstance(chosen, DetectSettings) or overrides:
        values = chosen.model_dump() if isinstance(chosen, DetectSettings) else chosen
        chosen = load_settings(values, overrides, kind=DetectSettings)
    read = load_recipe(recipe).to_dict() if recipe is not None else None
    missing = chosen.loader.corrupt
    opened = data if isinstance(data, CocoData) else open_coco(data, task == "segment", missing, watch)
    named = model if isinstance(model, nn.Module) else str(model)
    start = Path(init_from) if init_from else None
    return DetectRun(named, read, opened, chosen, seed, start, pretrained, task, kind, allow_code=allow_code)


def _check(kind: str, task: Name) -> None:
    if kind not in DETECTORS:
        tip = near(kind, DETECTORS) or f"choose {', '.join(DETECTORS)}"
        raise ModelError(Problem("--detector", f"there is no detector '{kind}'", tip))
    if DETECTORS[kind].masks != (task == "segment"):
        fitting = [name for name, each in DETECTORS.items() if each.masks == (task == "segment")]
        does = "makes masks" if DETECTORS[kind].masks else "makes no masks"
        message = f"{DETECTORS[kind].title} {does}, which does not fit --task {task}"
        raise ModelError(Problem("--detector", message, f"choose {', '.join(fitting)}"))
