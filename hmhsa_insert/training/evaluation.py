"""Evaluation: a network's scores on a split, image by image, and what they add up to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional

from hmhsa_insert.errors import Problem
from hmhsa_insert.inert import csv_text
from hmhsa_insert.training.checkpoint import write_text
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.order import PADDING
from hmhsa_insert.training.problems import TrainingError
from hmhsa_insert.training.progress import Row
from hmhsa_insert.training.run_tables import PREDICTIONS
from hmhsa_insert.training.task import Split

Integers = npt.NDArray[np.int64]
_TOP = 5


@dataclass(frozen=True)
class Evaluation:
    """What a network said about every image of a split, in the split's order.

    Attributes:
        indices: which images: all of the split but damaged ones, N.
        targets: their classes, N.
        predicted: the class of the highest score, N.
        in_top5: whether the target is among the five highest scores, N.
        losses: cross-entropy of each, N.
        classes: their names.
        damaged: indices of images that could not be read.
        seconds: wall time, reading included.
    """

    indices: Integers
    targets: Integers
    predicted: Integers
    in_top5: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    damaged: tuple[int, ...]
    seconds: float

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each image was recognized, N."""
        return np.equal(self.predicted, self.targets)

    @property
    def top1(self) -> float:
        """Images whose class had the highest score, in percent."""
        return 100.0 * float(self.correct.mean())

    @property
    def top5(self) -> float:
        """Images whose class had one of the five highest scores, in percent."""
        return 100.0 * float(self.in_top5.mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy, without label smoothing."""
        return float(self.losses.mean())

    @property
    def row(self) -> Row:
        """Columns of ``metrics.csv``."""
        return {"val_loss": self.loss, "top1": self.top1, "top5": self.top5}

    @property
    def said(self) -> str:
        """Top-1 and loss in words."""
        return f"top-1 {self.top1:.3f} %, loss {self.loss:.6f}"

    @property
    def images_per_s(self) -> float:
        """Images evaluated in a second, reading included."""
        return len(self.targets) / self.seconds

    @cached_property
    def confusion(self) -> Integers:
        """Counts, classes × classes: a row is the true class, a column the predicted one."""
        many = len(self.classes)
        counts = np.bincount(self.targets * many + self.predicted, minlength=many**2)
        return counts.reshape(many, many).astype(np.int64)

    @property
    def per_class(self) -> npt.NDArray[np.float64]:
        """Top-1 of each class in percent, NaN for a class without images."""
        sizes = self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            shares: npt.NDArray[np.float64] = 100.0 * np.diag(self.confusion) / sizes
        return shares

    def write_predictions(self, folder: Path, split: Split) -> None:
        """Write ``predictions.csv``: image, target, predicted, correct, in_top5, loss; a row an image, in order."""
        columns = {
            "image": [split.name(int(index)) for index in self.indices],
            "target": self.targets.tolist(),
            "predicted": self.predicted.tolist(),
            "correct": self.correct.astype(int).tolist(),
            "in_top5": self.in_top5.astype(int).tolist(),
            "loss": self.losses.tolist(),
        }
        text = csv_text(columns, zip(*columns.values(), strict=True))
        write_text(folder / PREDICTIONS, text)


@torch.no_grad()
def evaluate_split(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: tuple[str, ...],
    accelerator: Accelerator,
    *,
    on_batch: Callable[[int], None] | None = None,
    memory_format: Any = torch.contiguous_format,
) -> Evaluation:
    """Run a network over a split that is divided among the processes; every process returns the whole result.

    Args:
        model: in eval mode afterwards as before, whatever it was.
        batches: this process's part.
        classes: names, in the order of the scores.
        accelerator: tells device and processes.
        on_batch: called with the images of every batch.
        memory_format: of the images.

    Raises:
        TrainingError: the scores are not numbers.
    """
    training, start = model.training, time.perf_counter()
    model.eval()
    rows = []
    for batch in batches:
        images = batch.images.to(accelerator.device, non_blocking=True, memory_format=memory_format)
        targets = batch.targets.to(accelerator.device, non_blocking=True)
        with accelerator.autocast():
            scores = model(images)
        rows.append(_judged(scores.float(), targets, batch, accelerator.device))
        if on_batch is not None:
            on_batch(len(images))
    model.train(training)
    found: torch.Tensor = accelerator.gather(torch.cat(rows)).cpu()
    return _assembled(found, classes, time.perf_counter() - start)


def _judged(scores: torch.Tensor, targets: torch.Tensor, batch: Batch, device: torch.device) -> torch.Tensor:
    """Return a row an image: index, damaged, target, predicted, in the top five, loss; N×6, float32."""
    losses = functional.cross_entropy(scores, targets, reduction="none")
    best = scores.topk(min(_TOP, scores.shape[1]), dim=1).indices
    hit = best.eq(targets[:, None])
    own = torch.stack([batch.indices, batch.damaged.long()]).to(device, non_blocking=True)
    columns = [own[0], own[1], targets, best[:, 0], hit.any(1), losses]
    return torch.stack([column.float() for column in columns], dim=1)


def _assembled(found: torch.Tensor, classes: tuple[str, ...], seconds: float) -> Evaluation:
    table = found[found[:, 0] != PADDING].numpy()
    table = table[np.argsort(table[:, 0], kind="stable")]
    damaged = tuple(int(index) for index in table[table[:, 1] != 0, 0])
    table = table[table[:, 1] == 0]
    if not len(table):
        raise TrainingError(Problem("evaluation", "no image of the split could be read"))
    if not np.isfinite(table[:, 5]).all():
        first = int(table[~np.isfinite(table[:, 5]), 0][0])
        raise TrainingError(Problem("evaluation", f"the scores of image {first} are not numbers"))
    whole = table[:, :5].astype(np.int64)
    return Evaluation(
        indices=whole[:, 0],
        targets=whole[:, 2],
        predicted=whole[:, 3],
        in_top5=whole[:, 4].astype(np.bool_),
        losses=table[:, 5].astype(np.float64),
        classes=classes,
        damaged=damaged,
        seconds=seconds,
    )
