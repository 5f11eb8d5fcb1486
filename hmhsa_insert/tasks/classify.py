"""Classification: every image gets one class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from timm.data.mixup import Mixup
from torch import nn

from hmhsa_insert.class_scores import class_tables
from hmhsa_insert.tables import Table, right
from hmhsa_insert.training.curves import draw_confusion
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.evaluation import Evaluation, evaluate_split
from hmhsa_insert.training.image_objective import ImageObjective
from hmhsa_insert.training.image_task import ImageTask
from hmhsa_insert.training.interfaces import Forward, Panel
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop.optimizer import make_loss, make_mixup
from hmhsa_insert.training.result import RunResult
from hmhsa_insert.training.run_tables import read_predictions
from hmhsa_insert.training.score_tables import score_table

_MOST_IN_MATRIX = 100
_LOSSES = {"train_loss": "training", "val_loss": "validation", "ema_val_loss": "validation, averaged weights"}
_SCORES = {"train_top1": "training", "top1": "validation", "ema_top1": "validation, averaged weights"}


@dataclass(frozen=True, repr=False)
class ClassifyResult(RunResult):
    """A finished run of classification."""

    required: ClassVar[tuple[str, ...]] = ("top1", "top5", "loss")

    @property
    def top1(self) -> float:
        """Images whose class had the highest score, in percent."""
        return float(self.scores["top1"] or 0.0)

    @property
    def top5(self) -> float:
        """Images whose class had one of the five highest scores, in percent."""
        return float(self.scores["top5"] or 0.0)

    @property
    def loss(self) -> float:
        """Mean cross-entropy on the validation split."""
        return float(self.scores["loss"] or 0.0)

    @property
    def best_top1(self) -> float:
        """The best top-1 of all epochs."""
        return self.best


@dataclass(frozen=True)
class Classify(ImageTask):
    """A run of classification, resolved and not begun."""

    task: ClassVar[str] = "classify"
    result_type: ClassVar[type[RunResult]] = ClassifyResult
    columns: ClassVar[tuple[str, ...]] = ("val_loss", "top1", "top5")
    best: ClassVar[str] = "top1"
    curves: ClassVar[Sequence[Panel]] = (Panel("loss (cross-entropy)", _LOSSES), Panel("top-1 (%)", _SCORES))

    def objective(self, shares: Shares) -> ClassifyObjective:
        """Return the loss, and the mixtures in front of it.

        Raises:
            SettingsError: batches that cannot be mixed.
        """
        mixup = make_mixup(self.settings, self.outputs, shares.micro_batch)
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

    def details(self, found: Any) -> dict[str, Any]:
        """Return top-1, top-5, loss; recall (as ``per_class``) and precision of each class, None where there is none.

        Of two classes also AUC, and of no more than a hundred the confusion matrix.
        """
        few = len(found.classes) <= _MOST_IN_MATRIX
        return {
            "top1": found.top1,
            "top5": found.top5,
            "loss": found.loss,
            "per_class": _by_class(found.classes, found.per_class),
            "precision": _by_class(found.classes, found.precision),
            **({"confusion": found.confusion.tolist()} if few else {}),
            **({"auc": found.auc} if found.margins is not None else {}),
        }

    @classmethod
    def tables(cls, rows: Sequence[Mapping[str, Any]], source: str) -> list[Table]:
        """Return the scores, and of a single network its classes."""
        scores = [(f"{row['top1']:.2f}", f"{row['top5']:.2f}", f"{row['loss']:.4f}") for row in rows]
        found = score_table(rows, source, map(right, ("top-1 %", "top-5 %", "loss")), scores)
        return [found, *_classes(rows[0])] if len(rows) == 1 else [found]

    def write_found(self, found: Any, option: str, path: Path) -> str:
        """Draw the confusion matrix of an evaluation, as a PNG."""
        draw_confusion(found.confusion, found.classes, path)
        return "confusion"

    @classmethod
    def judged(cls, folder: Path) -> dict[str, Any]:
        """Return how many images were evaluated, and which of them were right, a bit each, in hexadecimal."""
        correct = read_predictions(folder)["correct"].to_numpy(dtype=bool)
        return {"val_images": len(correct), "correct": np.packbits(correct).tobytes().hex()}


def _by_class(classes: Sequence[str], shares: Any) -> dict[str, float | None]:
    # JSON knows no NaN.
    known = (None if share != share else share for share in shares.tolist())
    return dict(zip(classes, known, strict=True))


def _classes(row: Mapping[str, Any]) -> list[Table]:
    """Return recall and precision of each class, and which classes are confused, as they fit a screen."""
    both = {name: (share, row["precision"][name]) for name, share in row["per_class"].items()}
    confusion = np.array(row["confusion"]) if "confusion" in row else None
    first, *others = class_tables(both, confusion)
    if row.get("auc") is not None:
        first = replace(first, notes=(f"AUC {row['auc']:.4f}", *first.notes))
    return [first, *others]


@dataclass(frozen=True)
class ClassifyObjective(ImageObjective):
    """The loss of classified images, which may be mixed first."""

    mixup: Mixup | None

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
