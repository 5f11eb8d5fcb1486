"""Evaluation: a network's scores on a split, image by image, and what they add up to."""

from __future__ import annotations

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

from hmhsa_insert.class_scores import auc, confusion_of, precision, recall
from hmhsa_insert.inert import csv_text
from hmhsa_insert.training.interfaces import Evaluated, Split
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop.checkpoint import write_text
from hmhsa_insert.training.loop.progress import EpochRow
from hmhsa_insert.training.per_image import per_image
from hmhsa_insert.training.run_tables import PREDICTIONS

Integers = npt.NDArray[np.int64]
_TOP = 5


@dataclass(frozen=True, repr=False)
class Evaluation(Evaluated):
    """What a network said about every image of a split, in the split's order.

    Attributes:
        indices: which images: all of the split but damaged ones, N.
        targets: their classes, N.
        predicted: the class of the highest score, N.
        in_top5: whether the target is among the five highest scores, N.
        losses: cross-entropy of each, N.
        classes: their names.
        margins: of two classes: the score of the second less that of the first, N; None of more.
    """

    indices: Integers
    targets: Integers
    predicted: Integers
    in_top5: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    margins: npt.NDArray[np.float64] | None = None

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.targets)

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
    def row(self) -> EpochRow:
        """Columns of ``metrics.csv``."""
        return {"val_loss": self.loss, "top1": self.top1, "top5": self.top5}

    @property
    def said(self) -> str:
        """Top-1 and loss in words."""
        return f"top-1 {self.top1:.3f} %, loss {self.loss:.6f}"

    @cached_property
    def confusion(self) -> Integers:
        """Counts, classes × classes: a row is the true class, a column the predicted one."""
        return confusion_of(self.targets, self.predicted, len(self.classes))

    @property
    def per_class(self) -> npt.NDArray[np.float64]:
        """Top-1 of each class in percent, which is its recall; NaN for a class without images."""
        return recall(self.confusion)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Images taken for each class that are of it, in percent; NaN for a class that none was taken for."""
        return precision(self.confusion)

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve of two classes; None of more, and without images of both."""
        return None if self.margins is None else auc(self.targets, self.margins)

    def write_predictions(self, folder: Path, split: Split) -> None:
        """Write ``predictions.csv``: image, target, predicted, correct, in_top5, loss and margin (of two classes)."""
        columns = {
            "image": [split.name(int(index)) for index in self.indices],
            "target": self.targets.tolist(),
            "predicted": self.predicted.tolist(),
            "correct": self.correct.astype(int).tolist(),
            "in_top5": self.in_top5.astype(int).tolist(),
            "loss": self.losses.tolist(),
        }
        if self.margins is not None:
            columns["margin"] = self.margins.tolist()
        text = csv_text(columns, zip(*columns.values(), strict=True))
        write_text(folder / PREDICTIONS, text)


def evaluate_split(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: tuple[str, ...],
    accelerator: Accelerator,
    *,
    on_batch: Callable[[int], None] | None = None,
    memory_format: Any = torch.contiguous_format,
) -> Evaluation:
    """Classify the images of a split; see :func:`~hmhsa_insert.training.per_image.per_image`.

    Args:
        model: in eval mode; afterwards in its former mode.
        batches: this process's part.
        classes: names, in the order of the scores.
        accelerator: knows device and processes.
        on_batch: called with the number of images of every batch.
        memory_format: of the images.

    Raises:
        TrainingError: the scores are not numbers.
    """
    found = per_image(model, batches, _judged, accelerator, on_batch=on_batch, memory_format=memory_format)
    whole = found.values[:, :3].astype(np.int64)
    return Evaluation(
        damaged=found.damaged,
        seconds=found.seconds,
        indices=found.indices,
        targets=whole[:, 0],
        predicted=whole[:, 1],
        in_top5=whole[:, 2].astype(np.bool_),
        losses=found.values[:, 3].astype(np.float64),
        classes=classes,
        margins=found.values[:, 4].astype(np.float64) if len(classes) == 2 else None,
    )


def _judged(scores: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return a row an image: target, predicted, in the top five, loss, of two classes the margin; N×4 or N×5."""
    losses = functional.cross_entropy(scores, batch.targets, reduction="none")
    best = scores.topk(min(_TOP, scores.shape[1]), dim=1).indices
    hit = best.eq(batch.targets[:, None])
    columns = [batch.targets, best[:, 0], hit.any(1), losses]
    columns += [scores[:, 1] - scores[:, 0]] if scores.shape[1] == 2 else []
    return torch.stack([column.float() for column in columns], dim=1)
