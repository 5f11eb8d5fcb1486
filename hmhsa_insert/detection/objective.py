"""The losses of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hmhsa_insert.detection.loader import DetectBatch
from hmhsa_insert.training.interfaces import Forward


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
