"""A network run over a split that the processes divide, and a row of numbers of every image, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.order import PADDING
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.problems import ScoresError

# Of the network's output, N×…, and the batch, on the device: a row of numbers for each image, N×K.
Judge = Callable[[torch.Tensor, Batch], torch.Tensor]


@dataclass(frozen=True)
class PerImage:
    """A row of numbers for every image of a split that could be read.

    Attributes:
        indices: the images' numbers, N, ascending.
        values: N×K, float32.
        damaged: numbers of images that could not be read.
        seconds: wall time, reading included.
    """

    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    damaged: tuple[int, ...]
    seconds: float


@torch.no_grad()
def per_image(
    model: nn.Module,
    batches: Iterable[Batch],
    judge: Judge,
    accelerator: Accelerator,
    *,
    on_batch: Callable[[int], None] | None = None,
    memory_format: Any = torch.contiguous_format,
) -> PerImage:
    """Run a network over a split that is divided among the processes; every process returns the whole table.

    Args:
        model: in eval mode; afterwards in its former mode.
        batches: this process's part.
        judge: turns the output for a batch into a row of numbers for each image; numbers up to 2^24 are exact.
        accelerator: knows device and processes.
        on_batch: called with the number of images of every batch.
        memory_format: of the images.

    Raises:
        ScoresError: no image could be read, or a number is not finite.
    """
    training, start = model.training, time.perf_counter()
    model.eval()
    rows = []
    for batch in batches:
        images = batch.images.to(accelerator.device, non_blocking=True, memory_format=memory_format)
        moved = batch._replace(images=images, targets=batch.targets.to(accelerator.device, non_blocking=True))
        with accelerator.autocast():
            output = model(images)
        own = torch.stack([batch.indices, batch.damaged.long()], dim=1).to(accelerator.device)
        rows.append(torch.cat([own.float(), judge(output.float(), moved).float()], dim=1))
        if on_batch is not None:
            on_batch(len(images))
    model.train(training)
    found: torch.Tensor = accelerator.gather(torch.cat(rows)).cpu()
    return _assembled(found.numpy(), time.perf_counter() - start)


def _assembled(found: npt.NDArray[np.float32], seconds: float) -> PerImage:
    table = found[found[:, 0] != PADDING]
    table = table[np.argsort(table[:, 0], kind="stable")]
    damaged = tuple(int(index) for index in table[table[:, 1] != 0, 0])
    table = table[table[:, 1] == 0]
    if not len(table):
        raise ScoresError(Problem("evaluation", "no image of the split could be read"))
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        first = int(table[~finite, 0][0])
        raise ScoresError(Problem("evaluation", f"the scores of image {first} are not numbers"))
    return PerImage(table[:, 0].astype(np.int64), table[:, 2:], damaged, seconds)
