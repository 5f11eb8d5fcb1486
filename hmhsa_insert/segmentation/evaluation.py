"""A segmenter run over a split that the processes divide: one confusion matrix of all its pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.segmentation.infer import scores_of
from hmhsa_insert.segmentation.labels import IGNORED
from hmhsa_insert.segmentation.loader import MaskBatch
from hmhsa_insert.segmentation.scores import Segmented
from hmhsa_insert.segmentation.segmenter import Seen
from hmhsa_insert.training.data.order import PADDING
from hmhsa_insert.training.problems import ScoresError


def confusion_of_pixels(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return counts of pixels that have a class, K×K: a row is the true class, a column the predicted one."""
    # Imported here: it takes seconds, and other tasks do not need it.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    found: Tensor = multiclass_confusion_matrix(
        predicted, labels, num_classes, ignore_index=IGNORED, validate_args=False
    )
    return found


@torch.no_grad()
def evaluate_segmenter(
    model: nn.Module,
    batches: Iterable[MaskBatch],
    classes: tuple[str, ...],
    seen: Seen,
    accelerator: Accelerator,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Segmented:
    """Run a segmenter over a split, image by image, so that no score depends on what else is in a batch.

    Args:
        model: in eval mode; afterwards in its former mode.
        batches: this process's part.
        classes: names, in the order of the scores.
        seen: at which size; the scores are brought to the size of the labels.
        accelerator: knows device and processes.
        on_batch: called with the number of images of every batch.

    Raises:
        ScoresError: the scores are not numbers; no image could be read; no pixel has a class.
    """
    training, start = model.training, time.perf_counter()
    model.eval()
    total = torch.zeros(len(classes), len(classes), dtype=torch.int64, device=accelerator.device)
    mine: list[tuple[int, bool]] = []
    for batch in batches:
        each = zip(batch.images, batch.targets, batch.indices.tolist(), batch.damaged.tolist(), strict=True)
        for image, labels, index, damaged in each:
            if index == PADDING:
                continue
            mine.append((index, damaged))
            if not damaged:
                image = image.to(accelerator.device, non_blocking=True)
                with accelerator.autocast():
                    scores = scores_of(model, image, seen, labels.shape)
                if not torch.isfinite(scores).all():
                    raise ScoresError(Problem("evaluation", f"the scores of image {index} are not numbers"))
                labels = labels.to(accelerator.device, non_blocking=True)
                total += confusion_of_pixels(scores.argmax(0), labels, len(classes))
        if on_batch is not None:
            on_batch(len(batch.indices))
    model.train(training)
    summed: Tensor = accelerator.reduce(total, reduction="sum")
    everything: list[tuple[int, bool]] = gather_object(mine)
    damaged_ones = tuple(sorted(index for index, broken in everything if broken))
    read = len(everything) - len(damaged_ones)
    if not read:
        raise ScoresError(Problem("evaluation", "no image of the split could be read"))
    if not summed.any():
        raise ScoresError(Problem("evaluation", "no pixel of the split has a class"))
    seconds = time.perf_counter() - start
    return Segmented(damaged_ones, seconds, classes, summed.cpu().numpy(), read)
