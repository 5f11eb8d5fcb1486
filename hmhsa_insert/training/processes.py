"""Accelerate, made from the settings; and what only the first process does, known to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    broadcast_object_list,
)

from hmhsa_insert.errors import HmhsaInsertError, Problem, first_line, listed, near
from hmhsa_insert.training.problems import SettingsError, TrainingError
from hmhsa_insert.training.run_schema import ComputeSettings, RunSettings

T = TypeVar("T")


def make_accelerator(settings: RunSettings, folder: Path | None = None) -> Accelerator:
    """Return accelerate's object for one run: device, processes, precision, accumulation, trackers.

    Raises:
        SettingsError: a tracker that is unknown or not installed, or a precision that the device does not have.
    """
    # Accelerate keeps one state a process and refuses another precision: a study's next trial may have one.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    _check_trackers(settings.trackers)
    compute = settings.compute
    try:
        return Accelerator(
            cpu=compute.device == "cpu",
            mixed_precision=compute.precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=settings.accumulate, sync_with_dataloader=False
            ),
            log_with=list(settings.trackers) or None,
            project_dir=folder,
            kwargs_handlers=[
                DistributedDataParallelKwargs(
                    find_unused_parameters=compute.find_unused_parameters, gradient_as_bucket_view=True
                )
            ],
        )
    except ValueError as error:
        where, reason = "compute.precision", first_line(error)
        raise SettingsError(Problem(where, f"{compute.precision} does not run here: {reason}")) from error


def evaluation_accelerator(device: str = "auto") -> Accelerator:
    """Return accelerate's object for an evaluation in float32."""
    return make_accelerator(RunSettings(epochs=1, batch_size=1, compute=_compute(device)))


def finish_trackers(accelerator: Accelerator) -> None:
    """Have trackers write what they hold.

    Not accelerate's ``end_training``, which also ends the process group: a study's next trial needs it.
    """
    for tracker in accelerator.trackers:
        tracker.finish()


@contextmanager
def memory_may_run_out() -> Iterator[None]:
    """Turn torch's error for memory that ran out into one that says what to do.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        tip = "a larger accumulate (the batch in parts), compute.memory=lean, or a smaller input_size or batch_size"
        raise TrainingError(Problem("", f"memory ran out: {first_line(error)}", tip)) from error


def leave_processes() -> None:
    """End this process's part in the group, if it is in one; nothing else can be run together afterwards."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def on_main(accelerator: Accelerator, work: Callable[[], T]) -> T | None:
    """Have the first process do something; its errors are raised in all, so that none waits for it in vain."""
    result: T | None = None
    error: HmhsaInsertError | None = None
    if accelerator.is_main_process:
        try:
            result = work()
        except HmhsaInsertError as caught:
            error = caught
    if accelerator.num_processes > 1:
        shared = [(type(error), error.problems) if error else None]
        broadcast_object_list(shared)
        if shared[0] is not None and error is None:
            kind, problems = shared[0]
            raise kind(problems)
    if error is not None:
        raise error
    return result


def set_determinism(compute: ComputeSettings) -> None:
    """Ask torch for deterministic kernels, or not."""
    torch.use_deterministic_algorithms(compute.deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = compute.deterministic


def _compute(device: str) -> ComputeSettings:
    return ComputeSettings.model_validate({"device": device})


def _check_trackers(names: Sequence[str]) -> None:
    available = [tracker.value for tracker in get_available_trackers()]
    problems = []
    for name in names:
        if name not in available:
            message = f"tracker {name!r} is unknown, or its package is not installed"
            tip = f"{near(name, available)} here: {listed(available) or 'none'}".strip()
            problems.append(Problem("trackers", message, tip))
    if problems:
        raise SettingsError(problems)
