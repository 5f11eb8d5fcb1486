"""Score a trained detector: the folder of a run or an artifact, on any data set in COCO's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hmhsa_insert.costs.count import Counts
from hmhsa_insert.detection.artifact import is_detector, load, read_detector
from hmhsa_insert.detection.coco_data import CocoData, open_coco
from hmhsa_insert.detection.costs import count_detector
from hmhsa_insert.detection.detector import DETECTORS
from hmhsa_insert.detection.evaluation import Detection, evaluate_detector
from hmhsa_insert.detection.loader import eval_loader
from hmhsa_insert.detection.plan_run import DetectRun
from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.errors import Problem
from hmhsa_insert.surgery.base.load import named_by_file
from hmhsa_insert.training.problems import DataError, RunError
from hmhsa_insert.training.processes import evaluation_accelerator
from hmhsa_insert.training.run_folder import ARTIFACT, CONFIG, is_run, read_config
from hmhsa_insert.training.score import fill, recipe_of, settings_of, weights_file
from hmhsa_insert.training.seeding import kept_random_state
from hmhsa_insert.training.settings import load_settings


@dataclass(frozen=True)
class DetectCandidate:
    """A detector and the data it is to be scored on.

    Attributes:
        name: for tables.
        detector: its kind.
        model: the detector.
        data: the source.
        settings: batch size, sizes of images, loader.
    """

    name: str
    detector: str
    model: nn.Module
    data: CocoData
    settings: DetectSettings

    def count(self) -> Counts:
        """Count what it costs at the settings' largest image."""
        return count_detector(self.model, (self.settings.detector.min_size, self.settings.detector.max_size))


def is_detection(folder: str | Path) -> bool:
    """Return True if a path is the folder of a detector's run, or of a detector.

    Raises:
        RunError: it is a run's, and damaged.
    """
    return "task" in read_config(folder) if is_run(folder) else is_detector(folder)


def detection_candidate(
    folder: str | Path,
    data: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    weights: str = "best",
    allow_code: bool = False,
) -> DetectCandidate:
    """Build what :func:`score_detector` scores.

    Args:
        folder: of a run, or of a detector.
        data: the folder of a data set in COCO's format; None: that of the run.
        overrides: of the settings.
        weights: of a run: best, last or ema.
        allow_code: run the factory that the folder names.

    Raises:
        RunError, WeightsError, ArtifactError, ModelError: the detector cannot be built.
        DataError: the data cannot be used, or has other categories.
    """
    where = Path(folder)
    if is_run(where):
        return _of_run(where, data, overrides, weights, allow_code)
    if data is None:
        raise RunError(Problem(str(folder), "is no run, so the data has to be named", "--data COCO_ROOT"))
    record = read_detector(where).record
    opened = open_coco(data, DETECTORS[record.kind].masks)
    _check_categories(where, opened)
    sizes = {"min_size": record.options["min_size"], "max_size": record.options["max_size"]}
    values = {"epochs": 1, "batch_size": 4, "detector": sizes}
    settings = load_settings(values, overrides, kind=DetectSettings)
    model = load(where, allow_code=allow_code)
    return DetectCandidate(where.name, record.kind, model, opened, settings)


def score_detector(what: DetectCandidate, on_batch: Callable[[int], None] | None = None) -> Detection:
    """Run a candidate over the validation split of its data, on the device that is there."""
    accelerator = evaluation_accelerator(what.settings.compute.device)
    pin = accelerator.device.type == "cuda"
    rank, world = accelerator.process_index, accelerator.num_processes
    workers, batch_size = what.settings.loader.workers, what.settings.batch_size
    batches = eval_loader(what.data.val, batch_size, rank, world, workers, pin)
    model = what.model.to(accelerator.device)
    with kept_random_state():
        return evaluate_detector(model, batches, what.data, accelerator, on_batch=on_batch)


def _of_run(
    folder: Path, data: str | Path | None, overrides: Sequence[str], weights: str, allow_code: bool
) -> DetectCandidate:
    config = read_config(folder)
    spec = named_by_file(str(config["model"]), str(folder / CONFIG), allow_code)
    settings = settings_of(folder, config, overrides, DetectSettings)
    task, kind, recipe, seed = config["task"], config["detector"], recipe_of(folder, config), config["seed"]
    source = data if data is not None else config["data"]["source"]
    opened = open_coco(source, task == "segment", settings.loader.corrupt)
    if opened.num_classes != config["data"]["classes"]:
        message = f"it has {opened.num_classes} categories, the run's data has {config['data']['classes']}"
        raise DataError(Problem(str(source), message))
    artifact = folder / ARTIFACT
    if is_detector(artifact):
        _check_categories(artifact, opened)
    if " " in spec:
        message = f"its network ({spec}) was given in memory, and is not in the folder"
        raise RunError(Problem(str(folder), message))
    run = DetectRun(spec, recipe, opened, settings, seed, None, False, task, kind, allow_code=allow_code)
    model = run.task.build().model
    fill(model, weights_file(folder, weights))
    return DetectCandidate(folder.name, kind, model, opened, settings)


def _check_categories(artifact: Path, data: CocoData) -> None:
    known = read_detector(artifact).record.categories
    here = dict(zip(data.category_ids, data.classes, strict=True))
    if known and dict(known) != here:
        message = f"its categories are {_said(here)}, and the detector's {_said(known)}"
        raise DataError(Problem(data.source, message))


def _said(categories: Mapping[int, str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in list(categories.items())[:8])
