"""Score what was trained: a run folder, an artifact, a named network or one in memory, on any source of data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import Argument, Problem, RecipeError, mention, within
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.artifact.artifact import is_artifact
from hmhsa_insert.surgery.base.load import named_by_file
from hmhsa_insert.tasks.table import DEFAULT, made_by, task_class
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.images import ArrayImages
from hmhsa_insert.training.interfaces import DataSource, Evaluated
from hmhsa_insert.training.loop.seeding import kept_random_state
from hmhsa_insert.training.problems import RunError, SettingsError
from hmhsa_insert.training.processes import evaluation_accelerator
from hmhsa_insert.training.run_folder import ARTIFACT, CONFIG, is_run, read_config
from hmhsa_insert.training.run_identity import CLASS_NAMES
from hmhsa_insert.training.run_weights import WEIGHTS, fill, weights_file
from hmhsa_insert.training.scored import Asked
from hmhsa_insert.training.settings import S, load_settings, size_setting
from hmhsa_insert.training.task import Task


@dataclass(frozen=True)
class ModelToScore:
    """A network and the data it is to be scored on.

    Attributes:
        name: for tables.
        run: task, data and settings.
        model: the network.
        unseen: whether it is known that the network was trained on no image of the validation split; None where the
            task does not ask.
    """

    name: str
    run: Task
    model: nn.Module
    unseen: bool | None


@reads_arguments
def evaluate(
    model: str | Path | nn.Module,
    data: str | Path | DataSource | None = None,
    *,
    task: str | None = None,
    overrides: Sequence[str] = (),
    data_dir: str | Path | None = None,
    weights: str | Path | None = None,
    checkpoint: str | None = None,
    pretrained: bool = False,
    input_size: int | Sequence[int] | None = None,
    allow_code: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> Evaluated:
    """Score a network on the validation split of a source, or on all of a folder that has none.

    Args:
        model: the folder of a run, an artifact or a detector, what ``hi.load_model`` takes, or a network.
        data: a source; None: that of the run.
        task: what it does; None: as its folder says, else ``classify``.
        overrides: of the settings: the run's, or the network's own; such as ``augment.crop_pct=1``.
        data_dir: where downloaded data is kept.
        weights: of a network that is not a run: a file of weights, by its own keys.
        checkpoint: of a run: best, last or ema; best if left out.
        pretrained: of a named network: the library's weights.
        input_size: of the images, 96 for squares of 96 × 96; by default the run's, or the network's own.
        allow_code: run the factory that the folder names, if you trust the folder.
        renamed: class of the data -> class of the run, where they are called otherwise.

    Returns:
        What the task's evaluation found, an :class:`~hmhsa_insert.training.interfaces.Evaluated`: of classification
        with ``top1``, ``top5`` and ``loss``, of detectors with ``box`` and ``mask``. Type checkers see which where
        `task` is given.

    Raises:
        RunError, WeightsError, ArtifactError, ModelError: the network cannot be built.
        DataError: the data cannot be used, or has classes that the run does not know.
        TrainingError: the network's scores do not fit the data.

    Example:
        >>> import hmhsa_insert as hi
        >>> model = hi.load_model("test_resnet", num_classes=10, in_chans=1).model
        >>> found = hi.evaluate(model, "digits", input_size=16)
        >>> len(found.targets), found.confusion.shape
        (360, (10, 10))
    """
    return score(
        candidate(
            model,
            data,
            task=task,
            overrides=overrides,
            data_dir=data_dir,
            weights=weights,
            checkpoint=checkpoint,
            pretrained=pretrained,
            input_size=input_size,
            allow_code=allow_code,
            renamed=renamed,
        )
    )


def candidate(
    model: str | Path | nn.Module,
    data: Any = None,
    *,
    task: str | None = None,
    overrides: Sequence[str] = (),
    data_dir: str | Path | None = None,
    weights: str | Path | None = None,
    checkpoint: str | None = None,
    pretrained: bool = False,
    input_size: int | Sequence[int] | None = None,
    allow_code: bool = False,
    renamed: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> ModelToScore:
    """Build what :func:`evaluate` scores; the arguments are the same, and `watch` that of ``open_data``."""
    source = str(data) if isinstance(data, Path) else data
    if checkpoint is None and weights in WEIGHTS:
        warnings.warn(f"weights={weights!r} is now checkpoint={weights!r}", DeprecationWarning, stacklevel=3)
        weights, checkpoint = None, str(weights)
    named = task or task_of(model)
    kind: type[Task] = task_class(named)
    chosen = [*overrides, *size_setting(input_size, named, kind.settings_type)]
    asked = Asked(source, data_dir, chosen, renamed or {}, watch)
    if not isinstance(model, nn.Module) and is_run(model):
        if task is not None and task != (own := task_of(model)):
            raise RunError(Problem(str(model), f"its task is '{own}', and '{task}' was asked for"))
        if weights is not None:
            tip = f"choose among them: {mention('checkpoint', 'last')}"
            raise RunError(Problem(Argument("weights"), "a run has its own weights", tip))
        made = _of_run(kind, Path(model), asked, checkpoint or "best", allow_code)
    else:
        if checkpoint is not None:
            message = f"it chooses among the weights of a run, and '{_named(model)}' is not one"
            raise RunError(Problem(Argument("checkpoint"), message))
        if data is None:
            raise RunError(
                Problem(_named(model), "is not a run, so the data has to be named", "give `data=SOURCE`")
            )
        given = model if isinstance(model, nn.Module) else str(model)
        made = ModelToScore(*kind.of_model(given, asked, pretrained, weights, allow_code))
    made.run.check(made.model)
    return made


def _named(model: str | Path | nn.Module) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else str(model)


def score(what: ModelToScore, on_batch: Callable[[int], None] | None = None) -> Evaluated:
    """Run a candidate over the validation split of its data, on the device that is there."""
    settings = what.run.settings
    accelerator = evaluation_accelerator(settings.compute.device)
    batches = what.run.eval_batches(
        what.model,
        settings.batch_size,
        accelerator.process_index,
        accelerator.num_processes,
        pin=accelerator.device.type == "cuda",
    )
    model = what.model.to(accelerator.device)
    with kept_random_state():
        return what.run.evaluate(
            model, batches, accelerator, on_batch=on_batch, memory_format=torch.contiguous_format
        )


def task_of(model: str | Path | nn.Module) -> str:
    """Return the task of a run's folder, of an artifact or of a model that says it; else the default.

    Raises:
        RunError: it is a run's folder, and damaged.
        HmhsaInsertError: the run is of a task that is not known here.
    """
    if not isinstance(model, nn.Module) and is_run(model):
        name = str(read_config(model).get("task") or DEFAULT)
        task_class(name, str(Path(model) / CONFIG))
        return name
    return made_by(fetched(str(model)) if not isinstance(model, nn.Module) else model)


def _of_run(kind: type[Task], folder: Path, asked: Asked, checkpoint: str, allow_code: bool) -> ModelToScore:
    config = read_config(folder)
    spec = named_by_file(str(config["model"]), str(folder / CONFIG), allow_code)
    settings = settings_of(folder, config, asked.overrides, kind.settings_type)
    there = weights_file(folder, checkpoint)
    scored = kind.scored(config, settings, asked, folder)
    if ModelSpec(spec).is_in_memory and not is_artifact(folder / ARTIFACT):
        message = f"its network ({spec}) was given in memory, and is not in the folder"
        raise RunError(
            Problem(str(folder), message, f"load {folder / WEIGHTS[checkpoint]} into it, and give it")
        )
    recipe, own = recipe_of(folder, config), kind.options_in(config)
    run = kind(spec, recipe, scored.data, settings, config["seed"], None, False, allow_code=allow_code, **own)
    model = run.rebuilt(folder, config, there)
    fill(model, there)
    return ModelToScore(folder.name, run, model, scored.unseen)


def network_of_run(folder: str | Path, *, allow_code: bool = False) -> nn.Module:
    """Return the network of a run that classifies, with its best weights; its data is not opened.

    Args:
        folder: of the run; its network may be edited or not.
        allow_code: run the factory that the folder names.

    Raises:
        RunError, WeightsError, ArtifactError, ModelError: it cannot be built, or has no weights yet.
    """
    path, known = Path(folder), read_config(folder)["data"]
    none = ArrayImages(np.zeros((0, 1, 1), np.uint8), np.zeros(0, np.int64), "", np.zeros(0, np.int64))
    data = Data(str(known["source"]), none, none, tuple(known.get(CLASS_NAMES) or ()), 1, "")
    return _of_run(task_class(DEFAULT), path, Asked(data, None, (), {}), "best", allow_code).model


def settings_of(folder: Path, config: Mapping[str, Any], overrides: Sequence[str], kind: type[S]) -> S:
    """Return the settings of a run; a SettingsError names its file where they are no settings of this release."""
    try:
        return load_settings(config["settings"], overrides, kind=kind)
    except SettingsError as error:
        raise SettingsError(within(folder / CONFIG, error)) from error


def recipe_of(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the recipe of a run, or None; a RecipeError names its file where it is none."""
    try:
        return load_recipe(config["recipe"]).to_dict() if config["recipe"] is not None else None
    except RecipeError as error:
        raise RecipeError(within(folder / CONFIG, error)) from error
