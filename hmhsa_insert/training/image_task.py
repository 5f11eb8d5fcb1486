"""What tasks share whose networks turn an image into one vector: data, network, batches, evaluation image by image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.counters import counted
from hmhsa_insert.errors import Problem, WeightsError
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.models import load_weights
from hmhsa_insert.models.weights import read_shapes
from hmhsa_insert.surgery.artifact.artifact import is_artifact, load, open_model, save
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.training.adapt import check_outputs, input_channels
from hmhsa_insert.training.data import SMALL, Data, open_data
from hmhsa_insert.training.data.array_transforms import array_eval_transform, array_train_transform
from hmhsa_insert.training.data.digests import Watch
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.data.transforms import eval_transform, train_transform
from hmhsa_insert.training.image_objective import ImageObjective
from hmhsa_insert.training.interfaces import Evaluated, Objective
from hmhsa_insert.training.loader import Batch, EvalLoader, TrainLoader
from hmhsa_insert.training.loop.progress import EpochRow
from hmhsa_insert.training.network import Base, TrainableModel, build_network
from hmhsa_insert.training.per_image import per_image
from hmhsa_insert.training.problems import TrainingError
from hmhsa_insert.training.run_folder import ARTIFACT, CONFIG
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.run_weights import check_weights
from hmhsa_insert.training.schema import ClassifySettings
from hmhsa_insert.training.scored import Asked, Scored, scored_by_model, scored_by_run
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.task import Task


@dataclass(frozen=True, repr=False)
class Means(Evaluated):
    """Scores that are means over images.

    Attributes:
        scores: by the names of columns.
        count: how many images were evaluated.
    """

    scores: EpochRow
    count: int

    @property
    def row(self) -> EpochRow:
        """Columns of ``metrics.csv``."""
        return self.scores

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return self.count


@dataclass(frozen=True)
class ImageTask(Task):
    """A run of a task whose network turns an image into one vector.

    A task of this kind defines :attr:`outputs`, :meth:`loss`, :meth:`judge` and :meth:`summarize`, or overrides
    :meth:`objective` and :meth:`evaluate`, which call them.

    Attributes:
        data: labelled images.
        settings: as of classification.
    """

    settings_type: ClassVar[type[RunSettings]] = ClassifySettings

    data: Data
    settings: ClassifySettings

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for an image."""
        return self.data.num_classes

    def loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return what is minimized: the mean over a batch, of the network's output N×`outputs`."""
        raise NotImplementedError(f"the task '{self.task}' has no loss")

    def judge(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return a row of numbers for each image, N×K, from which the scores of a split are made."""
        raise NotImplementedError(f"the task '{self.task}' does not judge images")

    def summarize(self, values: npt.NDArray[Any]) -> EpochRow:
        """Return the scores of a split by the names of :attr:`columns`, from the rows of all its images."""
        raise NotImplementedError(f"the task '{self.task}' has no scores")

    @classmethod
    def default_settings(cls, data: Any, has_weights: bool) -> str:
        """Return ``finetune`` where there are weights to begin with, else settings by the data."""
        if has_weights:
            return "finetune"
        source = data.source if isinstance(data, Data) else data
        return "digits" if source is None or source in SMALL else "imagenet_300e"

    @classmethod
    def open(
        cls, source: Any, loader: Any, data_dir: str | Path | None = None, watch: Watch | None = None
    ) -> Data:
        """Open a source of labelled images; ``digits`` by default."""
        return open_data(str(source or "digits"), data_dir, loader, watch=watch)

    @property
    def network_key(self) -> tuple[Any, ...]:
        """Outputs, channels, input size, drop path and dropout."""
        regularize = self.settings.regularize.model_dump_json()
        return (self.outputs, self.data.channels, self.settings.input_size, regularize)

    def base(self) -> Base:
        """Build the network without its recipe, its weights and a checkpoint's left out."""
        network = build_network(
            self.model, self.data, self.settings, outputs=self.outputs, allow_code=self.allow_code
        )
        side = self.settings.input_size
        return Base(network.base, (network.channels, side, side))

    def build(self, meta: bool = False) -> TrainableModel:
        """Build the network; errors as :func:`~hmhsa_insert.training.network.build_network`."""
        return build_network(
            self.model,
            self.data,
            self.settings,
            outputs=self.outputs,
            recipe=self.recipe,
            seed=self.seed,
            init_from=self.init_from,
            pretrained=self.pretrained,
            allow_code=self.allow_code,
            meta=meta,
        )

    def count(self, model: nn.Module) -> Counts:
        """Count at the settings' input size."""
        return count(model, self._size(model))

    def costs(self, model: nn.Module) -> dict[str, int | float | None]:
        """Return what every counter says at the settings' input size, training memory included."""
        return counted(model, self._size(model), memory=True)

    def one_image(self, network: TrainableModel) -> tuple[nn.Module, tuple[int, ...]]:
        """Return the network, and the size of an image."""
        return network.model, self._size(network.model)

    def train_batches(self, network: TrainableModel, shares: Shares, pin: bool) -> TrainLoader:
        """Return this process's batches of the training split.

        Raises:
            SettingsError: settings that do not fit the data or the number of processes.
        """
        if self.data.arrays:
            images = self._arrays(self.data.train, network.channels)
            transform = array_train_transform(self.settings, images, network.channels)
        else:
            transform = train_transform(self.settings, network.model, network.channels)
        workers = self.settings.loader.workers
        return TrainLoader(self.data.train, transform, network.channels, shares, self.seed, workers, pin)

    def eval_batches(self, model: nn.Module, batch_size: int, rank: int, world: int, pin: bool) -> EvalLoader:
        """Return this process's batches of the validation split."""
        channels, workers = input_channels(model), self.settings.loader.workers
        if self.data.arrays:
            transform = array_eval_transform(self.settings, self._arrays(self.data.val, channels), channels)
        else:
            transform = eval_transform(self.settings, model, channels)
        return EvalLoader(self.data.val, transform, channels, batch_size, rank, world, workers, pin)

    def eval_batch_size(self, shares: Shares) -> int:
        """Return twice the training's batch: no gradients are kept, so that it fits."""
        return 2 * shares.micro_batch

    def objective(self, shares: Shares) -> Objective:
        """Return what computes the loss."""
        return ImageObjective(self.loss)

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Evaluated:
        """Run the network over the validation split."""
        found = per_image(
            model, batches, self.judge, accelerator, on_batch=on_batch, memory_format=memory_format
        )
        return Means(found.damaged, found.seconds, self.summarize(found.values), len(found.values))

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write an artifact for ``hi.load``; None if nothing was inserted."""
        return save(model, folder, overwrite=True) if ledgers(model) else None

    @classmethod
    def scored(
        cls, config: Mapping[str, Any] | None, settings: Any, asked: Asked, folder: Path | None
    ) -> Scored:
        """Return the data, with the numbers of the run's classes; errors as of ``open_data``."""
        if config is None:
            return scored_by_model(str(folder) if folder is not None else None, asked)
        return scored_by_run(config, settings, asked)

    def rebuilt(self, folder: Path, config: Mapping[str, Any], weights: Path) -> nn.Module:
        """Return the network of a run's folder: its artifact's, or what its configuration describes."""
        artifact, is_code = folder / ARTIFACT, ModelSpec(str(self.model)).is_code
        if not is_code and is_artifact(artifact):
            return load(artifact, allow_code=self.allow_code)
        _check_counts(config["data"], weights, folder / CONFIG)
        # For the classes it was trained on: whether the data has as many is asked later, of any network.
        classes, channels = ("",) * int(config["data"]["classes"]), int(config["data"]["channels"])
        then = replace(self, data=replace(self.data, classes=classes, channels=channels))
        if not is_code:  # a factory of the user's is code, and takes what it likes
            check_weights(then.build(meta=True).model, weights)
        return then.build().model

    @classmethod
    def of_model(
        cls,
        model: str | nn.Module,
        asked: Asked,
        pretrained: bool,
        weights: str | Path | None,
        allow_code: bool,
    ) -> tuple[str, Self, nn.Module, bool | None]:
        """Return name, run, model and :attr:`Scored.unseen` of a model without a run, at its own size and crop."""
        found = cls.scored(None, None, asked, None if isinstance(model, nn.Module) else Path(model))
        if isinstance(model, nn.Module):
            name, network, side = type(model).__name__, model, 224
        else:
            loaded = open_model(model, pretrained=pretrained, allow_code=allow_code)
            network, name, side = loaded.model, loaded.name, int(loaded.input_size[-1])
        if weights is not None:
            network = load_weights(copy.deepcopy(network) if network is model else network, weights)
        settings = settings_of_model(network, side, asked.overrides)
        return name, cls(network, None, found.data, settings, 0, None, False), network, found.unseen

    def check(self, model: nn.Module) -> None:
        """Refuse a network that does not give `outputs` numbers for an image.

        Raises:
            TrainingError: it does not.
        """
        check_outputs(model, input_channels(model), self.settings.input_size, self.outputs)

    def _arrays(self, images: Any, channels: int) -> Any:
        """Return a split of arrays; a network for other channels is refused, because arrays are not converted."""
        if channels != self.data.channels:
            message = (
                f"the network takes images of {channels} channels, and the data's have {self.data.channels}"
            )
            tip = "give a network that can be built for them: timm/NAME, or a factory that takes in_chans"
            raise TrainingError(Problem(self.data.source, message, tip))
        return images

    def _size(self, model: nn.Module) -> tuple[int, int, int]:
        return (input_channels(model), self.settings.input_size, self.settings.input_size)


def settings_of_model(network: nn.Module, side: int, overrides: Sequence[str] = ()) -> ClassifySettings:
    """Return the settings by which a network without a run is evaluated: images of `side` pixels, its own crop."""
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    own = {"crop_pct": config.get("crop_pct", 0.875)}
    return load_settings({"epochs": 1, "batch_size": 64, "input_size": side, "augment": own}, overrides)


def _check_counts(data: Mapping[str, Any], weights: Path, path: Path) -> None:
    """Refuse more classes or channels than any tensor of the run has, before so many are listed."""
    most = max((side for shape in read_shapes(weights).values() for side in shape), default=0)
    for key in ("classes", "channels"):
        if data[key] > most:
            message = f"data.{key} is {data[key]}, and no side of a tensor of the run is that long"
            raise WeightsError(Problem(str(path), message, "the folder's files are not of one run"))
