"""The objective of tasks whose loss is a function of a batch and of what the network gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hmhsa_insert.training.interfaces import Forward
from hmhsa_insert.training.loader import Batch


@dataclass(frozen=True)
class ImageObjective:
    """An objective whose loss is a function of output and batch."""

    loss: Callable[..., torch.Tensor]

    def to_device(self, batch: Batch, device: torch.device, memory_format: Any) -> Batch:
        """Return the batch with images and targets on the device."""
        images = batch.images.to(device, non_blocking=True, memory_format=memory_format)
        return batch._replace(images=images, targets=batch.targets.to(device, non_blocking=True))

    def forward(self, model: nn.Module, batch: Batch) -> Forward:
        """Return the loss of a batch."""
        return Forward(self.loss(model(batch.images), batch), len(batch.images), {})
