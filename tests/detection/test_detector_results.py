from __future__ import annotations

import json

import numpy as np
import torch
from pycocotools import mask as mask_tools

from hmhsa_insert.detection.results import coco_results


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
