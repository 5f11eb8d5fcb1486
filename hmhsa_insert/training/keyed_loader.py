"""Loaders of splits whose batches a function reads, whatever is in them: boxes, masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

from hmhsa_insert.training.data.order import EvalBatches, Key, Shares, TrainBatches
from hmhsa_insert.training.loader import default_workers, reading_loader
from hmhsa_insert.training.workers import WorkerLoader

B = TypeVar("B")


class KeyedTrainLoader(Generic[B]):
    """The training split of one process, any epoch from any update on.

    Args:
        read: returns the batch of some keys; its draws may depend on them and on the run's seed alone.
        split: what it reads.
        shares: how an update's images are divided.
        seed: of the run.
        workers: processes that read; None: by the machine.
        pin: keep batches in page-locked memory, for an accelerator.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Key]], B],
        split: Sized,
        shares: Shares,
        seed: int,
        workers: int | None,
        pin: bool,
    ) -> None:
        self._sampler = TrainBatches(len(split), shares, seed)
        count = default_workers(split, shares.world) if workers is None else workers
        self._loader: WorkerLoader[B] = reading_loader(read, self._sampler, count, pin)

    @property
    def updates(self) -> int:
        """Updates in an epoch."""
        return self._sampler.updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[B]:
        """Yield this process's batches of an epoch, `accumulate` of them an update."""
        self._sampler.start(epoch, first_update)
        return iter(self._loader)

    def close(self) -> None:
        """End the processes that read."""
        self._loader.close()


def keyed_eval_loader(
    read: Callable[[Sequence[Key]], B],
    split: Sized,
    batches: EvalBatches,
    world: int,
    workers: int | None,
    pin: bool,
) -> WorkerLoader[B]:
    """Return a split in order, every image once over all `world` processes."""
    return reading_loader(read, batches, default_workers(split, world) if workers is None else workers, pin)
