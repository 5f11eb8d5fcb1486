from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pycocotools import mask as mask_tools
from torch import Tensor, nn

from hmhsa_insert.detection.annotations import ImageRecord
from hmhsa_insert.detection.coco_data import CocoSplit
from hmhsa_insert.detection.coco_results import coco_results
from hmhsa_insert.detection.evaluation import evaluate_detector
from hmhsa_insert.training.data.order import PADDING


def test_detections_become_cocos_results() -> None:
    masks = torch.zeros(3, 1, 6, 8)
    masks[0, 0, 1:4, 2:5] = 0.9
    masks[1, 0, 0, 0] = 0.5  # no more than the threshold: no pixel of it
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 4.5, 6.0], [0.0, 0.0, 8.0, 6.0], [0.0, 0.0, 1.0, 1.0]]),
        "labels": torch.tensor([2, 1, 3]),
        "scores": torch.tensor([0.75, 0.5, 0.25]),
        "masks": masks,
    }
    first, second = json.loads(json.dumps(coco_results(found, 17, (90, 4))))
    assert (first["image_id"], first["category_id"], first["score"]) == (17, 4, 0.75)
    assert first["bbox"] == [1.0, 2.0, 3.5, 4.0]
    assert second["category_id"] == 90
    decoded = mask_tools.decode(first["segmentation"])
    assert np.array_equal(decoded, (masks[0, 0] > 0.5).numpy())
    assert mask_tools.area(second["segmentation"]) == 0


def test_nothing_found_is_no_results() -> None:
    found = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "scores": torch.zeros(0),
        "masks": torch.zeros(0, 1, 4, 4),
    }
    assert coco_results(found, 1, (1,)) == []


class FindsOne(nn.Module):
    """Finds one object in every image, as sure as the image is bright; notes the mode it runs in."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.modes.append(self.training)
        boxes, labels = torch.tensor([[1.0, 2.0, 4.0, 6.0]]), torch.tensor([1])
        return [{"boxes": boxes, "labels": labels, "scores": image.mean()[None]} for image in images]


@pytest.mark.parametrize("training", [True, False])
def test_an_evaluation_scores_each_image_once_and_puts_the_mode_back(training: bool) -> None:
    records = tuple(ImageRecord(number, f"{number}.png", 8, 8, ()) for number in (40, 50, 60))
    data = SimpleNamespace(val=CocoSplit(Path(), records, {7: 1}, False), category_ids=(7,))
    batches = [
        SimpleNamespace(
            images=[torch.full((3, 8, 8), score) for score in scores],
            indices=torch.tensor(indices),
            damaged=torch.tensor(damaged),
        )
        # The third image is damaged, and the last place of the second batch is filled up.
        for scores, indices, damaged in (
            ((0.25, 0.5), (0, 1), (False, False)),
            ((0.75, 0.125), (2, PADDING), (True, False)),
        )
    ]
    model = FindsOne().train(training)
    found = evaluate_detector(model, batches, data, Accelerator(cpu=True))  # type: ignore[arg-type]
    assert [(each["image_id"], each["score"]) for each in found.detections] == [(40, 0.25), (50, 0.5)]
    assert found.damaged == (2,)
    assert [record.id for record in found.split.records] == [40, 50]
    assert model.modes == [False, False]
    assert model.training is training
