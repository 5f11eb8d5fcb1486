"""A task: what of a run depends on what is learned, images classified or objects found, in one place.

The loop, its checkpoints and the run folder know a task by these names only. Classification is in ``classify``;
detection and segmentation are a layer above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import nn

from hmhsa_insert.costs.count import Counts
from hmhsa_insert.training.network import Network
from hmhsa_insert.training.order import Shares
from hmhsa_insert.training.progress import Row
from hmhsa_insert.training.result import RunResult

R_co = TypeVar("R_co", bound=RunResult, covariant=True)


class Split(Protocol):
    """Images of a source that belong together."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what a report calls one image."""


class Source(Protocol):
    """What a run says of its data, whatever it is."""

    @property
    def source(self) -> str:
        """What the user called it."""

    @property
    def train(self) -> Split:
        """The training split."""

    @property
    def val(self) -> Split:
        """The validation split."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""

    @property
    def channels(self) -> int:
        """Of an image as it is stored: 1 or 3."""

    @property
    def fingerprint(self) -> str:
        """A digest of names, annotations and what is in the files."""

    @property
    def names_fingerprint(self) -> str:
        """A digest of names and annotations alone, by which runs of earlier versions know their data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their numbers."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for the user."""


class ReadBatch(Protocol):
    """What the loop itself looks at in a batch."""

    @property
    def indices(self) -> torch.Tensor:
        """N, each image's number in its split."""

    @property
    def damaged(self) -> torch.Tensor:
        """N, true where the image could not be read and another stands in for it."""


class TrainBatchSource(Protocol):
    """The training split of one process, any epoch from any update on."""

    @property
    def updates(self) -> int:
        """Updates in an epoch."""

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Any]:
        """Yield this process's batches of an epoch."""

    def close(self) -> None:
        """End the processes that read."""


class EvalBatchSource(Protocol):
    """The validation split of one process, in order."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """End the processes that read."""


class Forward(NamedTuple):
    """What one forward in training gave.

    Attributes:
        loss: mean over the images; what is minimized.
        images: how many there were.
        meters: name -> sum over the images of what is told beside the loss, on the device.
    """

    loss: torch.Tensor
    images: int
    meters: Mapping[str, torch.Tensor]


class Objective(Protocol):
    """Computes the loss of batches."""

    def to_device(self, batch: Any, device: torch.device, memory_format: Any) -> Any:
        """Return the batch on the device."""

    def forward(self, model: nn.Module, batch: Any) -> Forward:
        """Run a batch that is on the device; draws come from the generators that the loop seeded."""


class Evaluated(Protocol):
    """What an evaluation found, the same in every process."""

    @property
    def row(self) -> Row:
        """Columns of ``metrics.csv``."""

    @property
    def said(self) -> str:
        """The scores in a few words."""

    @property
    def damaged(self) -> tuple[int, ...]:
        """Numbers of images that could not be read."""

    @property
    def images_per_s(self) -> float:
        """Images evaluated in a second, reading included."""

    def write_predictions(self, folder: Path, split: Split) -> None:
        """Write what was said of every image into a file of `folder`."""


@dataclass(frozen=True)
class Panel:
    """One of the pictures of learning curves: its label, and column -> title of each curve."""

    label: str
    curves: Mapping[str, str]


class Task(Protocol[R_co]):
    """What a run learns."""

    @property
    def best(self) -> str:
        """The column of ``metrics.csv`` whose largest value tells the best weights."""

    @property
    def curves(self) -> Sequence[Panel]:
        """What is drawn of the columns."""

    def build(self) -> Network:
        """Build the network of the run."""

    def count(self, network: Network) -> Counts:
        """Count what the network costs for one image."""

    def one_image(self, network: Network) -> tuple[nn.Module, tuple[int, ...]]:
        """Return what a batch of images runs through, and C, H, W of the smallest one."""

    def loaders(
        self, network: Network, shares: Shares, pin: bool
    ) -> tuple[TrainBatchSource, EvalBatchSource]:
        """Return this process's batches for training and for evaluation."""

    def objective(self, shares: Shares) -> Objective:
        """Return what computes the loss."""

    def evaluate(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        accelerator: Accelerator,
        *,
        on_batch: Callable[[int], None] | None,
        memory_format: Any,
    ) -> Evaluated:
        """Run the network over the validation split, which the processes divide."""

    def save(self, model: nn.Module, folder: Path) -> Path | None:
        """Write a network as an artifact; None if there is none to write."""

    def result(self, finished: RunResult, row: Row, prefix: str, best: float) -> R_co:
        """Return the result of a run.

        Args:
            finished: what every run says.
            row: of the last epoch.
            prefix: of the columns that count: ``ema_`` where there is an average.
            best: the best value of the column :attr:`best`.
        """

    def read_result(self, folder: Path) -> R_co | None:
        """Return the result of a run's folder, or None if it is not finished."""
