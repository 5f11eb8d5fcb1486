"""The loop: the updates of one run, from any place to the next."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn

from hmhsa_insert.errors import HmhsaInsertError, Problem, first_line
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.training.interfaces import EvalBatchSource, Objective, ReadBatch, Split, TrainBatchSource
from hmhsa_insert.training.loop.checkpoint import EXTRA, checkpoint_name, load_checkpoint, save_checkpoint
from hmhsa_insert.training.loop.freeze import Freezer
from hmhsa_insert.training.loop.progress import Progress, SavedPlace
from hmhsa_insert.training.loop.seeding import UPDATE, derived_seed, seed_all
from hmhsa_insert.training.loop.stop import StopRequest, agreed
from hmhsa_insert.training.problems import DataError, RunError, Stopped
from hmhsa_insert.training.reporter import OptimizerStep, Reporter
from hmhsa_insert.training.run_folder import CONFIG
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.task import Task

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
        reporter: receives the progress.
        stop: notes stop signals.
    """

    accelerator: Accelerator
    task: Task
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
    eval_loader: EvalBatchSource
    progress: Progress
    checkpoints: Path
    reporter: Reporter
    stop: StopRequest = field(default_factory=StopRequest)
    _saved_at: float = field(default_factory=lambda: time.monotonic())
    _began: float = 0.0
    _first_update: int = 0
    _between: bool = True

    @property
    def memory_format(self) -> Any:
        """The layout of images in memory."""
        return torch.channels_last if self.settings.compute.channels_last else torch.contiguous_format

    def train_epoch(self) -> None:
        """Do the updates of the epoch under way that are not done yet.

        Raises:
            TrainingError: the loss is not a number.
            DataError: a damaged image, where those are errors.
            Stopped: on a stop signal, after a checkpoint.
            Interrupted: on a stop signal while it waited between two updates: :meth:`save` is what remains to do.
        """
        accelerator, progress = self.accelerator, self.progress
        self.model.train()
        self.freezer.begin(progress.epoch)
        self._began, self._first_update = time.perf_counter(), progress.update
        for number, batch in enumerate(
            self._read(self.train_loader.batches(progress.epoch, progress.update))
        ):
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

    def evaluation_batches(self) -> Iterator[Any]:
        """Yield the batches of the validation split; a stop signal raises Interrupted between them."""
        return self._interruptible(self.eval_loader, every=1)

    def save(self) -> Path:
        """Write a checkpoint; all processes call this together.

        Raises:
            TrainingError: the weights come from a loss that is not a number: the last good checkpoint stays.
            RunError: writing fails.
        """
        progress = self.progress
        progress.check()
        average = self.average.state_dict() if self.average is not None else {}
        extra = {"progress": progress.state_dict(), "average": average}
        name = checkpoint_name(progress.total, evaluated=progress.update < self.train_loader.updates)
        # accelerate would create a removed folder again, with nothing in it but a checkpoint.
        if not (self.checkpoints.parent / CONFIG).is_file():
            tip = "was it removed? the same command starts again"
            raise RunError(Problem(str(self.checkpoints.parent), "this folder is gone", tip))
        where = save_checkpoint(self.accelerator, self.checkpoints / name, extra)
        self._saved_at = time.monotonic()
        return where

    def save_before_evaluation(self) -> None:
        """Write a checkpoint where much would be lost with the evaluation; all processes call this together."""
        if agreed(self.accelerator, None, self._unsaved_minutes() > self.settings.checkpoint_minutes / 3)[0]:
            self.save()

    def stop_if_asked(self, update: int | None = None) -> None:
        """Save and stop if a signal asked any process to; all processes call this together.

        Args:
            update: the number of the one that is done; None: between two epochs.

        Raises:
            Stopped: a signal asked.
        """
        stop, save = agreed(
            self.accelerator,
            update,
            self.stop.signal is not None,
            self._unsaved_minutes() > self.settings.checkpoint_minutes,
        )
        if stop:
            self.stop_here()
        elif save:
            self.save()

    def stop_here(self) -> NoReturn:
        """Save and stop; all processes call this together."""
        where = self.save()
        message = f"stopped after update {self.progress.total}, saved in {where}"
        raise Stopped(message, self.stop.signal or signal.SIGINT)

    def close(self) -> None:
        """End the processes that read."""
        self.train_loader.close()
        self.eval_loader.close()

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
                message = f"its average does not fit the network: {first_line(error)}"
                raise RunError(Problem(str(checkpoint / EXTRA), message)) from error

    def _read(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield batches; what cannot be read between two updates costs nothing that was trained."""
        try:
            yield from self._interruptible(batches, every=self.settings.accumulate)
        except HmhsaInsertError:
            if self.progress.update and self._between and self.accelerator.num_processes == 1:
                self.save()
            raise

    def _interruptible(self, batches: Iterable[Any], every: int) -> Iterator[Any]:
        """Yield batches; let the wait for every so manieth be interrupted, where no other process waits for this."""
        iterator, alone = iter(batches), self.accelerator.num_processes == 1
        for number in count():
            self._between = number % every == 0
            with self.stop.interruptible(alone and self._between):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            yield batch

    def _unsaved_minutes(self) -> float:
        return (time.monotonic() - self._saved_at) / 60

    def _on_device(self, batch: ReadBatch) -> Any:
        return self.objective.to_device(batch, self.accelerator.device, self.memory_format)

    def _prepare_gradients(self) -> None:
        self.freezer.drop_gradients(self.bare, self.progress.epoch)
        if self.settings.optimizer.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.clip_norm)

    def _close_update(self) -> None:
        """Step what is stepped once an update; report, save or stop where it is time to."""
        progress = self.progress
        progress.update, progress.total = progress.update + 1, progress.total + 1
        self.schedule.step_update(num_updates=progress.total)
        if self.average is not None:
            self.average.update(self.bare, step=progress.total)
        if self.accelerator.device.type == "cpu" or progress.update % _LOOK_EVERY == 0:
            self._look()
        self.stop_if_asked(progress.total)
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
            self.reporter.step(OptimizerStep(*place, loss, meters, self.speed()[1]))

    def _note_damaged(self, batch: ReadBatch) -> None:
        if not batch.damaged.any():
            return
        names = [self.split.name(int(index)) for index in batch.indices[batch.damaged]]
        if self.settings.loader.corrupt == "error":
            tip = "remove it, or skip it: `overrides=['loader.corrupt=skip']`"
            raise DataError([Problem(name, "this image cannot be read", tip) for name in names])
        self.progress.damaged.update(names)
