"""Score what was trained: a run folder, an artifact, a named network or one in memory, on any source of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hmhsa_insert.errors import Problem, RecipeError, WeightsError, first_line, within
from hmhsa_insert.models.weights import Shape, misfits, read_shapes, shapes_in, utf8_path
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.artifact.artifact import is_artifact, load, open_model
from hmhsa_insert.surgery.base.load import named_by_file
from hmhsa_insert.training.adapt import check_outputs, input_channels
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.evaluation import Evaluation, evaluate_split
from hmhsa_insert.training.loader import EvalLoader
from hmhsa_insert.training.network import build_network
from hmhsa_insert.training.problems import RunError, SettingsError
from hmhsa_insert.training.processes import evaluation_accelerator
from hmhsa_insert.training.run_folder import ARTIFACT, BEST, CONFIG, EMA, LAST, is_run, read_config
from hmhsa_insert.training.schema import Settings
from hmhsa_insert.training.scored import Asked, scored_by_model, scored_by_run
from hmhsa_insert.training.seeding import kept_random_state
from hmhsa_insert.training.settings import S, load_settings
from hmhsa_insert.training.transforms import eval_transform

WEIGHTS = {"best": BEST, "last": LAST, "ema": EMA}


@dataclass(frozen=True)
class Candidate:
    """A network and the data it is to be scored on.

    Attributes:
        name: for tables.
        model: the network.
        data: the source.
        settings: input size and normalization.
        channels: of its images, 1 or 3.
        unseen: whether it is known that the network was trained on no image of the validation split.
    """

    name: str
    model: nn.Module
    data: Data
    settings: Settings
    channels: int
    unseen: bool = False


def evaluate(
    model: str | Path | nn.Module,
    data: str | Data | None = None,
    *,
    overrides: Sequence[str] = (),
    data_dir: str | Path | None = None,
    weights: str = "best",
    pretrained: bool = False,
    allow_code: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score a network on the validation split of a source, or on all of a folder that has none.

    Args:
        model: the folder of a run or an artifact, what ``hi.load_model`` takes, or a network.
        data: a source; None: that of the run.
        overrides: of the settings: the run's, or the network's own; such as ``input_size=256``.
        data_dir: where downloaded data is kept.
        weights: of a run: best, last or ema.
        pretrained: of a named network: the library's weights.
        allow_code: run the factory that the folder names, if you trust the folder.
        renamed: class of the data -> class of the run, where they are called otherwise.

    Raises:
        RunError, WeightsError, ArtifactError, ModelError: the network cannot be built.
        DataError: the data cannot be used, or has classes that the run does not know.
        TrainingError: the network's scores do not fit the data.
    """
    return score(
        candidate(
            model,
            data,
            overrides=overrides,
            data_dir=data_dir,
            weights=weights,
            pretrained=pretrained,
            allow_code=allow_code,
            renamed=renamed,
        )
    )


def candidate(
    model: str | Path | nn.Module,
    data: str | Data | None = None,
    *,
    overrides: Sequence[str] = (),
    data_dir: str | Path | None = None,
    weights: str = "best",
    pretrained: bool = False,
    allow_code: bool = False,
    renamed: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Candidate:
    """Build what :func:`evaluate` scores; the arguments are the same, and `watch` that of ``open_data``."""
    asked = Asked(data, data_dir, overrides, renamed or {}, watch)
    if not isinstance(model, nn.Module) and is_run(model):
        made = _of_run(Path(model), asked, weights, allow_code)
    else:
        if data is None:
            raise RunError(Problem(str(model), "is no run, so the data has to be named", "--data SOURCE"))
        made = _of_model(model, asked, pretrained, allow_code)
    check_outputs(made.model, made.channels, made.settings.input_size, made.data.num_classes)
    return made


def score(what: Candidate, on_batch: Callable[[int], None] | None = None) -> Evaluation:
    """Run a candidate over the validation split of its data, on the device that is there."""
    accelerator = evaluation_accelerator(what.settings.compute.device)
    batches = EvalLoader(
        what.data.val,
        eval_transform(what.settings, what.model, what.channels),
        what.channels,
        what.settings.batch_size,
        accelerator.process_index,
        accelerator.num_processes,
        what.settings.loader.workers,
        pin=accelerator.device.type == "cuda",
    )
    model = what.model.to(accelerator.device)
    with kept_random_state():
        return evaluate_split(model, batches, what.data.classes, accelerator, on_batch=on_batch)


def _of_run(folder: Path, asked: Asked, weights: str, allow_code: bool) -> Candidate:
    config = read_config(folder)
    spec = named_by_file(str(config["model"]), str(folder / CONFIG), allow_code)
    settings = settings_of(folder, config, asked.overrides, Settings)
    there = weights_file(folder, weights)
    scored = scored_by_run(config, settings, asked)
    artifact = folder / ARTIFACT
    if ":" not in spec and is_artifact(artifact):
        model = load(artifact, allow_code=allow_code)
    elif " " in spec:
        message = f"its network ({spec}) was given in memory, and is not in the folder"
        raise RunError(
            Problem(str(folder), message, f"load {folder / WEIGHTS[weights]} into it, and give it")
        )
    else:
        model = _rebuilt(folder, config, spec, settings, scored.data, there, allow_code)
    fill(model, there)
    return Candidate(folder.name, model, scored.data, settings, input_channels(model), scored.unseen)


def _rebuilt(
    folder: Path,
    config: Mapping[str, Any],
    spec: str,
    settings: Settings,
    data: Data,
    there: Path,
    allow_code: bool,
) -> nn.Module:
    """Return the network that a run's configuration describes; it takes memory only if its weights do."""
    _check_counts(config["data"], read_shapes(there), folder / CONFIG)
    # For the classes it was trained on: whether the data has as many is asked later, of any network.
    classes, channels = ("",) * int(config["data"]["classes"]), int(config["data"]["channels"])
    trained_on = replace(data, classes=classes, channels=channels)
    recipe, seed = recipe_of(folder, config), config["seed"]
    build = partial(
        build_network, spec, trained_on, settings, recipe=recipe, seed=seed, allow_code=allow_code
    )
    if ":" not in spec:  # a factory of the user's is code, and takes what it likes
        check_weights(build(meta=True).model, there)
    return build().model


def _check_counts(data: Mapping[str, Any], shapes: Mapping[str, Shape], path: Path) -> None:
    """Refuse more classes or channels than any tensor of the run has, before so many are listed."""
    most = max((side for shape in shapes.values() for side in shape), default=0)
    for key in ("classes", "channels"):
        if data[key] > most:
            message = f"data.{key} is {data[key]}, and no side of a tensor of the run is that long"
            raise WeightsError(Problem(str(path), message, "the folder's files are not of one run"))


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


def _of_model(model: str | Path | nn.Module, asked: Asked, pretrained: bool, allow_code: bool) -> Candidate:
    scored = scored_by_model(None if isinstance(model, nn.Module) else str(model), asked)
    size: tuple[int, ...]
    if isinstance(model, nn.Module):
        name, size = type(model).__name__, (0, 224, 224)
    else:
        loaded = open_model(str(model), pretrained=pretrained, allow_code=allow_code)
        model, name, size = loaded.model, loaded.name, loaded.input_size
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    own = {"crop_pct": config.get("crop_pct", 0.875)}
    values = {"epochs": 1, "batch_size": 64, "input_size": int(size[-1]), "augment": own}
    settings = load_settings(values, asked.overrides)
    return Candidate(name, model, scored.data, settings, input_channels(model))


def weights_file(folder: Path, weights: str) -> Path:
    """Return the file of a run's weights: best, last or ema.

    Raises:
        RunError: there is no such file.
    """
    path = folder / WEIGHTS[weights]
    if path.is_file():
        return path
    there = [name for name, file in WEIGHTS.items() if (folder / file).is_file()]
    raise RunError(
        Problem(str(path), "there is no such file", f"this run has: {', '.join(there) or 'none yet'}")
    )


def check_weights(model: nn.Module, path: Path) -> None:
    """Compare a network, which may have no weights yet, with the shapes in a weight file.

    Raises:
        WeightsError: the file cannot be read, or does not fit: the first keys of each kind.
    """
    state = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    if problems := misfits(shapes_in(state), read_shapes(path), str(path)):
        raise WeightsError(problems)


def fill(model: nn.Module, path: Path) -> None:
    """Load a weight file of a run into the network it was written from.

    Raises:
        WeightsError: it cannot be read, or does not fit.
    """
    check_weights(model, path)
    try:
        with utf8_path(path) as name:
            safetensors.torch.load_model(model, name)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(Problem(str(path), f"does not fit the run: {first_line(error)}")) from error
