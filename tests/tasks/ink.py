"""A third task: how much ink a picture has, one number. Everything that it takes is in this file."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional

from hmhsa_insert.tasks.table import TASKS, TaskRow
from hmhsa_insert.training.image_task import ImageTask
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop.progress import EpochRow


def ink(batch: Batch) -> torch.Tensor:
    """Return the mean of every image, N."""
    return batch.images.mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class Ink(ImageTask):
    """A run that learns how much ink a picture has."""

    task: ClassVar[str] = "ink"
    columns: ClassVar[tuple[str, ...]] = ("closeness", "error")
    best: ClassVar[str] = "closeness"

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean squared error."""
        return functional.mse_loss(output[:, 0], ink(batch))

    def judge(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the error of each image, N×1."""
        return (output[:, 0] - ink(batch)).abs()[:, None]

    def summarize(self, values: Any) -> EpochRow:
        """Return the mean error, and a score of which more is better."""
        error = float(values.mean())
        return {"closeness": 1 / (1 + error), "error": error}


TASKS["ink"] = TaskRow(
    "how much ink a picture has", lambda: Ink, frozenset({"data_dir", "pretrained", "weights"})
)
