"""Evaluation of a detector: what it finds in every image of a split, and COCO's average precision of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from hmhsa_insert.detection.coco_data import CocoData, CocoSplit
from hmhsa_insert.detection.coco_results import coco_results
from hmhsa_insert.detection.loader import DetectBatch
from hmhsa_insert.detection.metric import IouKind, Scores, average_precision
from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.order import PADDING
from hmhsa_insert.training.interfaces import Evaluated
from hmhsa_insert.training.loop.checkpoint import write_text
from hmhsa_insert.training.loop.progress import EpochRow
from hmhsa_insert.training.problems import ScoresError

DETECTIONS = "predictions.json"
_Found = tuple[
    int, bool, list[dict[str, Any]]
]  # an image's number, whether it is damaged, what was found in it


@dataclass(frozen=True, repr=False)
class Detection(Evaluated):
    """What a detector found in every image of a split.

    Attributes:
        split: the images that could be read.
        detections: in COCO's result format, by image: image_id, category_id, bbox, score, and segmentation.
    """

    split: CocoSplit
    detections: list[dict[str, Any]]

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.split)

    @cached_property
    def box(self) -> Scores:
        """Average precision of boxes."""
        return average_precision(self.split, self.detections, "box")

    @cached_property
    def mask(self) -> Scores | None:
        """Average precision of masks, None where there are none."""
        return average_precision(self.split, self.detections, "mask") if self.split.masks else None

    @property
    def scores(self) -> dict[IouKind, Scores]:
        """Average precision by what is compared."""
        return {"box": self.box} if self.mask is None else {"box": self.box, "mask": self.mask}

    @property
    def row(self) -> EpochRow:
        """Columns of ``metrics.csv``: ``box_AP`` and so on."""
        return {f"{kind}_{name}": value for kind, each in self.scores.items() for name, value in each.items()}

    @property
    def said(self) -> str:
        """The scores in a few words."""
        return ", ".join(
            f"{kind} {name} {'–' if each[name] is None else f'{each[name]:.3f}'}"
            for kind, each in self.scores.items()
            for name in ("AP", "AP50")
        )

    def write_predictions(self, folder: Path, split: Any) -> None:
        """Write ``predictions.json``: COCO's result format."""
        write_detections(self.detections, folder / DETECTIONS)


def write_detections(detections: list[dict[str, Any]], path: Path) -> None:
    """Write COCO's result format, one detection a line.

    Raises:
        RunError: writing fails.
    """
    lines = ",\n".join(map(json.dumps, detections))
    write_text(path, f"[\n{lines}\n]\n")


@torch.no_grad()
def evaluate_detector(
    model: nn.Module,
    batches: Iterable[DetectBatch],
    data: CocoData,
    accelerator: Accelerator,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Detection:
    """Run a detector over the validation split, which the processes divide; every process returns the whole result.

    Args:
        model: in eval mode afterwards as before, whatever it was.
        batches: this process's part.
        data: its split and categories' ids are used.
        accelerator: knows device and processes.
        on_batch: called with the images of every batch.

    Raises:
        ScoresError: the scores are not numbers; no image could be read.
    """
    training, start = model.training, time.perf_counter()
    model.eval()
    mine: list[_Found] = []
    for batch in batches:
        images = [image.to(accelerator.device, non_blocking=True) for image in batch.images]
        with accelerator.autocast():
            outputs = model(images)
        for output, index, damaged in zip(
            outputs, batch.indices.tolist(), batch.damaged.tolist(), strict=True
        ):
            if index != PADDING:
                record = data.val.records[index]
                found = [] if damaged else _results(output, record.id, data)
                mine.append((index, damaged, found))
        if on_batch is not None:
            on_batch(len(images))
    model.train(training)
    everything: list[_Found] = gather_object(mine)
    return _assembled(everything, data.val, time.perf_counter() - start)


def _results(output: Mapping[str, torch.Tensor], image_id: int, data: CocoData) -> list[dict[str, Any]]:
    if not torch.isfinite(output["scores"]).all():
        raise ScoresError(Problem("evaluation", f"the scores of image {image_id} are not numbers"))
    return coco_results(output, image_id, data.category_ids)


def _assembled(found: list[_Found], split: CocoSplit, seconds: float) -> Detection:
    found = sorted(found, key=lambda each: each[0])
    damaged = tuple(index for index, broken, _ in found if broken)
    read = tuple(split.records[index] for index, broken, _ in found if not broken)
    if not read:
        raise ScoresError(Problem("evaluation", "no image of the split could be read"))
    detections = [each for *_, results in found for each in results]
    return Detection(damaged, seconds, replace(split, records=read), detections)
