"""What the tests of detection say often: small images with boxes and masks, a small detector, its losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import hmhsa_insert as hi

RECIPE = {
    "version": 1,
    "name": "test",
    "edits": [
        {
            "op": "insert",
            "id": "hmhsa",
            "at": {"stage": 3, "block": "last"},
            "block": {"type": "hmhsa", "head_dim": 16, "grids": "auto"},
            "init": "identity",
        }
    ],
}
SMALL = {"min_size": 64, "max_size": 96}
FEW_REGIONS = {
    "box_score_thresh": 0.0,
    "rpn_post_nms_top_n_train": 40,
    "rpn_post_nms_top_n_test": 40,
    "box_batch_size_per_image": 32,
    "box_detections_per_img": 20,
}


def images(seed: int = 0) -> list[Tensor]:
    """Return two images of different sizes, C×H×W in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, 64, 80, generator=generator), torch.rand(3, 72, 60, generator=generator)]


def targets() -> list[dict[str, Tensor]]:
    """Return two objects for the first image, none for the second."""
    boxes = torch.tensor([[4.0, 6.0, 44.0, 50.0], [30.0, 20.0, 70.0, 60.0]])
    masks = torch.zeros(2, 64, 80, dtype=torch.uint8)
    masks[0, 10:45, 8:40] = 1
    masks[1, 22:58, 34:66] = 1
    none = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 72, 60, dtype=torch.uint8),
    }
    return [{"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks}, none]


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorms random statistics and gains, so that no branch is dead, and return `model`."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.8, 1.2, generator=generator)
                nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return model


def losses(detector: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return the losses on the scenes; sampling of anchors and proposals follows `seed`."""
    torch.manual_seed(seed)
    found: dict[str, Tensor] = detector.train()(images(), targets())
    return found


def outputs(detector: nn.Module) -> list[dict[str, Tensor]]:
    with torch.no_grad():
        found: list[dict[str, Tensor]] = detector.eval()(images())
    return found


def small_detector(kind: str, backbone: Any = "resnet18", num_classes: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    own = {"score_thresh": 0.0} if kind == "retinanet" else FEW_REGIONS
    return hi.detector(kind, backbone, num_classes, **{**SMALL, **own, **options})
