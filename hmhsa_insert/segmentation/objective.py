"""The losses of a segmenter, over the pixels that have a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hmhsa_insert.errors import Problem
from hmhsa_insert.segmentation.labels import IGNORED
from hmhsa_insert.segmentation.loader import MaskBatch
from hmhsa_insert.segmentation.schema import SemanticLossSettings
from hmhsa_insert.segmentation.smp_decoder import smp
from hmhsa_insert.training.interfaces import Forward
from hmhsa_insert.training.problems import SettingsError

# Of scores N×K×H×W and classes N×H×W.
Loss = Callable[[Tensor, Tensor], Tensor]


class CrossEntropy:
    """The mean cross-entropy of the pixels that have a class; 0 where none has.

    Args:
        weights: of the classes; None: all alike.
    """

    def __init__(self, weights: Sequence[float] | None) -> None:
        self._weights = torch.tensor(weights) if weights is not None else None

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of scores N×K×H×W."""
        known = labels != IGNORED
        weights = self._weights.to(scores.device) if self._weights is not None else None
        total = cross_entropy(scores, labels, weights, ignore_index=IGNORED, reduction="sum")
        size = known.sum() if weights is None else weights[labels[known]].sum()
        return total / size.clamp(min=torch.finfo(torch.float32).tiny)


def make_losses(settings: SemanticLossSettings, num_classes: int) -> dict[str, tuple[float, Loss]]:
    """Return the losses by name, each with its weight.

    Raises:
        SettingsError: another number of class weights than there are classes.
        ModelError: smp, which has Dice and Lovász, is not installed.
    """
    weights = settings.class_weights
    if weights is not None and len(weights) != num_classes:
        message = f"{len(weights)} weights, and the data has {num_classes} classes"
        raise SettingsError(Problem("loss.class_weights", message))
    made: dict[str, Callable[[], Loss]] = {
        "ce": lambda: CrossEntropy(weights),
        "dice": lambda: smp().losses.DiceLoss("multiclass", ignore_index=IGNORED),
        "lovasz": lambda: _or_nothing(smp().losses.LovaszLoss("multiclass", ignore_index=IGNORED)),
    }
    return {name: (weight, made[name]()) for name, weight in settings.weights.items() if weight}


def _or_nothing(loss: Loss) -> Loss:
    """Return a loss that is 0 where no pixel has a class: smp's Lovász is no number then."""
    return lambda scores, labels: loss(scores, labels) if (labels != IGNORED).any() else 0 * scores.sum()


@dataclass(frozen=True)
class SemanticObjective:
    """The weighted sum of losses.

    Attributes:
        losses: by name, each with its weight.
    """

    losses: Mapping[str, tuple[float, Loss]]

    def to_device(self, batch: MaskBatch, device: torch.device, memory_format: Any) -> MaskBatch:
        """Return the batch with images and labels on the device."""
        assert isinstance(batch.images, Tensor)
        assert isinstance(batch.targets, Tensor)
        images = batch.images.to(device, non_blocking=True, memory_format=memory_format)
        return batch._replace(images=images, targets=batch.targets.to(device, non_blocking=True))

    def forward(self, model: nn.Module, batch: MaskBatch) -> Forward:
        """Return the loss, each of its terms where there are several, and the share of pixels that were right."""
        scores, labels = model(batch.images).float(), batch.targets
        assert isinstance(labels, Tensor)
        terms = {name: loss(scores, labels) for name, (_, loss) in self.losses.items()}
        total = sum((weight * terms[name] for name, (weight, _) in self.losses.items()), scores.new_zeros(()))
        count = len(scores)
        with torch.no_grad():
            known = labels != IGNORED
            right = (scores.argmax(1).eq(labels) & known).sum() / known.sum().clamp(min=1)
        meters = {"pixel_accuracy": count * right}
        if len(terms) > 1:
            meters |= {name: each.detach() * count for name, each in terms.items()}
        return Forward(total, count, meters)
