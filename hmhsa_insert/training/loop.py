"""The loop: the updates of one run, from any place to the next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.training.checkpoint import EXTRA, load_checkpoint, save_checkpoint
from hmhsa_insert.training.freeze import Freezer
from hmhsa_insert.training.problems import DataError, RunError, Stopped
from hmhsa_insert.training.progress import Progress, SavedPlace
from hmhsa_insert.training.reporter import Reporter, Step
from hmhsa_insert.training.schema import RunSettings
from hmhsa_insert.training.seeding import UPDATE, derived_seed, seed_all
from hmhsa_insert.training.stop import StopRequest
from hmhsa_insert.training.task import Objective, ReadBatch, Split, Task, TrainBatchSource

# Looking at the loss waits until an accelerator has done all that was asked of it.
_LOOK_EVERY = 20


@dataclass
class Loop:
    """Everything that the updates of one run touch.

    Attributes:
        accelerator: devices, processes, precision, accumulation.
        task: what is learned.
        settings: of the run.
        seed: of the run.
        model: the network as accelerate wrapped it.
        bare: the same network without DDP's wrapper.
        average: its moving average, if there is one.
        optimizer, schedule, objective, freezer: the parts.
        split: the training split, to name damaged images.
        train_loader, eval_loader: this process's batches.
        progress: where the run is.
        checkpoints: folder of the checkpoints.
        reporter: is told.
        stop: says whether to stop.
    """

    accelerator: Accelerator
    task: Task[Any]
    settings: RunSettings
    seed: int
    model: nn.Module
    bare: nn.Module
    average: ModelEmaV3 | None
    optimizer: Any
    schedule: Scheduler
    objective: Objective
    freezer: Freezer
    split: Split
    train_loader: TrainBatchSource
    eval_loader: Iterable[Any]
    progress: Progress
    checkpoints: Path
    reporter: Reporter
    stop: StopRequest = field(default_factory=StopRequest)
    _began: float = 0.0
    _first_update: int = 0

    @property
    def memory_format(self) -> Any:
        """The layout of images in memory."""
        return torch.channels_last if self.settings.compute.channels_last else torch.contiguous_format

    def train_epoch(self) -> None:
        """Do the updates of the epoch under way that are not done yet.

        Raises:
            TrainingError: the loss is not a number.
            DataError: a damaged image, where those are errors.
            Stopped: on Ctrl-C or SIGTERM, after a checkpoint.
        """
        accelerator, progress = self.accelerator, self.progress
        self.model.train()
        self.freezer.begin(progress.epoch)
        self._began, self._first_update = time.perf_counter(), progress.update
        for number, batch in enumerate(self.train_loader.batches(progress.epoch, progress.update)):
            self._note_damaged(batch)
            moved = self._on_device(batch)
            part = number % self.settings.accumulate
            where = (progress.total, part, accelerator.process_index)
            seed_all(derived_seed(self.seed, UPDATE, *where), accelerator.device)
            with accelerator.accumulate(self.model):
                found = self.objective.forward(self.model, moved)
                progress.add(*found)
                if part == 0:
                    # Here and not after the step: backward takes up the memory again at once. On a CPU it would go
                    # back to the system in between, at 8 % of a small network's time. Not accelerate's zero_grad,
                    # which acts at the last part of an update alone.
                    self.optimizer.optimizer.zero_grad()
                accelerator.backward(found.loss)
                if accelerator.sync_gradients:
                    self._prepare_gradients()
                self.optimizer.step()
            if accelerator.sync_gradients:
                self._close_update()
        progress.check()

    def speed(self) -> tuple[float, float]:
        """Return seconds since this epoch began here, and images per second over all processes."""
        seconds = time.perf_counter() - self._began
        images = (self.progress.update - self._first_update) * self.settings.batch_size
        return seconds, images / seconds if seconds else 0.0

    def save(self) -> Path:
        """Write a checkpoint; all processes call this together.

        Raises:
            TrainingError: the weights come from a loss that is not a number: the last good checkpoint stays.
            RunError: the disk refuses.
        """
        self.progress.check()
        average = self.average.state_dict() if self.average is not None else {}
        extra = {"progress": self.progress.state_dict(), "average": average}
        return save_checkpoint(self.accelerator, self.checkpoints, self.progress.total, extra)

    def restore(self, checkpoint: Path) -> None:
        """Go back to what :meth:`save` wrote.

        Raises:
            RunError: it is damaged.
        """
        extra = load_checkpoint(self.accelerator, checkpoint)
        checked(SavedPlace, extra, checkpoint / EXTRA, RunError)
        self.progress.load_state_dict(extra["progress"])
        if self.average is not None:
            try:
                self.average.load_state_dict(extra["average"])
            except (RuntimeError, TypeError, AttributeError) as error:
                message = f"its average does not fit the network: {str(error).splitlines()[0]}"
                raise RunError(Problem(str(checkpoint / EXTRA), message)) from error

    def _on_device(self, batch: ReadBatch) -> Any:
        return self.objective.to_device(batch, self.accelerator.device, self.memory_format)

    def _prepare_gradients(self) -> None:
        self.freezer.drop_gradients(self.bare, self.progress.epoch)
        if self.settings.optimizer.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.clip_norm)

    def _close_update(self) -> None:
        """Step what is stepped once an update; tell, save or stop where it is time to."""
        progress = self.progress
        progress.update, progress.total = progress.update + 1, progress.total + 1
        self.schedule.step_update(num_updates=progress.total)
        if self.average is not None:
            self.average.update(self.bare, step=progress.total)
        if self.accelerator.device.type == "cpu" or progress.update % _LOOK_EVERY == 0:
            self._look()
        if self.stop.asked(self.accelerator, progress.total):
            where = self.save()
            message = f"stopped after update {progress.total}, saved in {where}"
            raise Stopped(message, self.stop.signal or 0)
        if (
            progress.update % self.settings.checkpoint_steps == 0
            and progress.update < self.train_loader.updates
        ):
            self.save()

    def _look(self) -> None:
        self.progress.check()
        meters = self.progress.means()
        if self.accelerator.is_main_process:
            loss = meters.pop("loss")
            place = (
                self.progress.epoch + 1,
                self.settings.epochs,
                self.progress.update,
                self.train_loader.updates,
            )
            self.reporter.step(Step(*place, loss, meters, self.speed()[1]))

    def _note_damaged(self, batch: ReadBatch) -> None:
        if not batch.damaged.any():
            return
        names = [self.split.name(int(index)) for index in batch.indices[batch.damaged]]
        if self.settings.loader.corrupt == "error":
            tip = "remove it, or --set loader.corrupt=skip"
            raise DataError([Problem(name, "this image cannot be read", tip) for name in names])
        self.progress.damaged.update(names)
