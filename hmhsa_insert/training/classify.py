"""The task of classification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from timm.data.mixup import Mixup
from torch import nn

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.surgery.artifact.artifact import save
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.evaluation import Evaluation, evaluate_split
from hmhsa_insert.training.loader import Batch, EvalLoader, TrainLoader
from hmhsa_insert.training.network import Network, build_network
from hmhsa_insert.training.order import Shares
from hmhsa_insert.training.parts import make_loss, make_mixup
from hmhsa_insert.training.progress import Row
from hmhsa_insert.training.result import RunResult, TrainResult, read_result
from hmhsa_insert.training.schema import Settings
from hmhsa_insert.training.task import Forward, Panel
from hmhsa_insert.training.transforms import eval_transform, train_transform

_LOSSES = {"train_loss": "training", "val_loss": "validation", "ema_val_loss": "validation, averaged weights"}
_SCORES = {"train_top1": "training", "top1": "validation", "ema_top1": "validation, averaged weights"}


@dataclass(frozen=True)
class ClassifyTask:
    """Gives every image one class.

    Attributes:
        model, recipe, data, settings, seed, init_from, pretrained, allow_code: of the run.
    """

    best: ClassVar[str] = "top1"
    curves: ClassVar[Sequence[Panel]] = (Panel("loss (cross-entropy)", _LOSSES), Panel("top-1 (%)", _SCORES))

    model: str | nn.Module
    recipe: Mapping[str, Any] | None
    data: Data
    settings: Settings
    seed: int
    init_from: Path | None
    pretrained: bool
    allow_code: bool = False

    def build(self) -> Network:
        """Build the network; errors as :func:`~hmhsa_insert.training.network.build_network`."""
        return build_network(
            self.model,
            self.data,
            self.settings,
            recipe=self.recipe,
            seed=self.seed,
            init_from=self.init_from,
            pretrained=self.pretrained,
            allow_code=self.allow_code,
        )

    def count(self, network: Network) -> Counts:
        """Count at the settings' input size."""
        side = self.settings.input_size
        return count(network.model, (network.channels, side, side))

    def one_image(self, network: Network) -> tuple[nn.Module, tuple[int, ...]]:
        """Return the network, and the size of an image."""
        return network.model, (network.channels, self.settings.input_size, self.settings.input_size)

    def loaders(self, network: Network, shares: Shares, pin: bool) -> tuple[TrainLoader, EvalLoader]:
        """Return this process's batches.

        Raises:
            SettingsError: settings that do not fit the data or the number of processes.
        """
        settings, channels, workers = self.settings, network.channels, self.settings.loader.workers
        transform = train_transform(settings, network.model, channels)
        train_loader = TrainLoader(self.data.train, transform, channels, shares, self.seed, workers, pin)
        eval_loader = EvalLoader(
            self.data.val,
            eval_transform(settings, network.model, channels),
            channels,
            # No gradients are kept, so that twice the images fit.
            2 * shares.micro_batch,
            shares.rank,
            shares.world,
            workers,
            pin,
        )
        return train_loader, eval_loader

    def objective(self, shares: Shares) -> ClassifyObjective:
        """Return the loss, and the mixtures in front of it.

        Raises:
            SettingsError: batches that cannot be mixed.
        """
        mixup = make_mixup(self.settings, self.data.num_classes, shares.micro_batch)
        return ClassifyObjective(make_loss(self.settings), mixup)

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Evaluation:
        """Run the network over the validation split; see :func:`evaluate_split`."""
        return evaluate_split(
            model, batches, self.data.classes, accelerator, on_batch=on_batch, memory_format=memory_format
        )

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write an artifact for ``hi.load``; None if nothing was inserted."""
        return save(model, folder, overwrite=True) if ledgers(model) else None

    def result(self, finished: RunResult, row: Row, prefix: str, best: float) -> TrainResult:
        """Return the result with its scores."""
        return TrainResult(
            **vars(finished),
            top1=float(row[f"{prefix}top1"] or 0.0),
            top5=float(row[f"{prefix}top5"] or 0.0),
            loss=float(row[f"{prefix}val_loss"] or 0.0),
            best_top1=best,
        )

    def read_result(self, folder: Path) -> TrainResult | None:
        """Return the result of a run's folder, or None."""
        return read_result(folder)


@dataclass(frozen=True)
class ClassifyObjective:
    """The loss of classified images, which may be mixed first."""

    loss: nn.Module
    mixup: Mixup | None

    def to_device(self, batch: Batch, device: torch.device, memory_format: Any) -> Batch:
        """Return the batch with images and targets on the device."""
        images = batch.images.to(device, non_blocking=True, memory_format=memory_format)
        return batch._replace(images=images, targets=batch.targets.to(device, non_blocking=True))

    def forward(self, model: nn.Module, batch: Batch) -> Forward:
        """Return the loss, and how many percent of the images were right, summed."""
        images, targets = batch.images, batch.targets
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
        scores = model(images)
        loss = self.loss(scores, targets)
        with torch.no_grad():
            truth = targets.argmax(1) if targets.ndim == 2 else targets
            right = 100 * scores.argmax(1).eq(truth).sum()
        return Forward(loss, len(scores), {"top1": right})
