"""The task of detection: boxes, and masks where the detector segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import nn

from hmhsa_insert.costs.count import Counts
from hmhsa_insert.detection.artifact import save
from hmhsa_insert.detection.coco_data import CocoData
from hmhsa_insert.detection.costs import count_detector
from hmhsa_insert.detection.evaluation import Detection, evaluate_detector
from hmhsa_insert.detection.loader import DetectBatch, DetectTrainLoader, eval_loader
from hmhsa_insert.detection.metric import NAMES
from hmhsa_insert.detection.network import CELL, build_detector
from hmhsa_insert.detection.result import DetectResult, read_detect_result
from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.training.network import Network
from hmhsa_insert.training.order import Shares
from hmhsa_insert.training.progress import Row
from hmhsa_insert.training.result import RunResult
from hmhsa_insert.training.task import EvalBatchSource, Forward, Panel, TrainBatchSource

Name = Literal["detect", "segment"]


@dataclass(frozen=True)
class DetectTask:
    """Finds objects.

    Attributes:
        name: ``detect``, boxes; ``segment``, boxes and masks.
        detector: its kind.
        model, recipe, data, settings, seed, init_from, pretrained, allow_code: of the run; the model is the backbone.
    """

    name: Name
    detector: str
    model: str | nn.Module
    recipe: Mapping[str, Any] | None
    data: CocoData
    settings: DetectSettings
    seed: int
    init_from: Path | None
    pretrained: bool
    allow_code: bool = False

    @property
    def best(self) -> str:
        """AP of masks where there are masks, else of boxes."""
        return "mask_AP" if self.data.val.masks else "box_AP"

    @property
    def curves(self) -> Sequence[Panel]:
        """The loss, and AP and AP50."""
        kinds = ("box", "mask") if self.data.val.masks else ("box",)
        scores = {
            f"{prefix}{kind}_{name}": f"{kind} {name}{title}"
            for kind in kinds
            for name in ("AP50", "AP")
            for prefix, title in (("", ""), ("ema_", ", averaged weights"))
        }
        return Panel("loss", {"train_loss": "training"}), Panel("average precision", scores)

    def build(self) -> Network:
        """Build the detector; errors as :func:`~hmhsa_insert.detection.network.build_detector`."""
        return build_detector(
            self.detector,
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
        """Count at the settings' largest image: shorter side × longer side."""
        chosen = self.settings.detector
        return count_detector(network.model, (chosen.min_size, chosen.max_size))

    def one_image(self, network: Network) -> tuple[nn.Module, tuple[int, ...]]:
        """Return backbone and pyramid, and the size of a square image, padded: others have more pixels."""
        side = -(-min(self.settings.detector.min_size, self.settings.detector.max_size) // CELL) * CELL
        return network.model.get_submodule("backbone"), (network.channels, side, side)

    def loaders(
        self, network: Network, shares: Shares, pin: bool
    ) -> tuple[TrainBatchSource, EvalBatchSource]:
        """Return this process's batches.

        Raises:
            SettingsError: settings that do not fit the data or the number of processes.
        """
        workers, hflip = self.settings.loader.workers, self.settings.augment.hflip
        train = DetectTrainLoader(self.data.train, shares, self.seed, hflip, workers, pin)
        batch_size = shares.micro_batch
        return train, eval_loader(self.data.val, batch_size, shares.rank, shares.world, workers, pin)

    def objective(self, shares: Shares) -> DetectObjective:
        """Return the detector's own losses."""
        return DetectObjective()

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[DetectBatch],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Detection:
        """Run the detector over the validation split; see :func:`evaluate_detector`."""
        return evaluate_detector(model, batches, self.data, accelerator, on_batch=on_batch)

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write an artifact for ``hi.load`` and ``hmhsa-insert detect``; None if nothing known builds its backbone."""
        return save(model, folder, overwrite=True)

    def result(self, finished: RunResult, row: Row, prefix: str, best: float) -> DetectResult:
        """Return the result with its scores."""
        box, mask = ({name: row.get(f"{prefix}{kind}_{name}") for name in NAMES} for kind in ("box", "mask"))
        return DetectResult(
            **vars(finished),
            task=self.name,
            detector=self.detector,
            box=box,
            mask=mask if self.data.val.masks else None,
            best=best,
        )

    def read_result(self, folder: Path) -> DetectResult | None:
        """Return the result of a run's folder, or None."""
        return read_detect_result(folder)


@dataclass(frozen=True)
class DetectObjective:
    """torchvision's losses of a detector, added up."""

    def to_device(self, batch: DetectBatch, device: torch.device, memory_format: Any) -> DetectBatch:
        """Return the batch with images and targets on the device; the detector lays images out itself."""
        images = [image.to(device, non_blocking=True) for image in batch.images]
        targets = [
            {key: value.to(device, non_blocking=True) for key, value in target.items()}
            for target in batch.targets
        ]
        return batch._replace(images=images, targets=targets)

    def forward(self, model: nn.Module, batch: DetectBatch) -> Forward:
        """Return the sum of the losses, and each of them as a meter."""
        losses: dict[str, torch.Tensor] = model(batch.images, batch.targets)
        count = len(batch.images)
        loss = torch.stack([*losses.values()]).sum()
        meters = {name.removeprefix("loss_"): each.detach() * count for name, each in losses.items()}
        return Forward(loss, count, meters)
