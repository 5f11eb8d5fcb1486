"""A planned run and its network, made into a loop: parts, loaders, and accelerate's wrappers around them."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.loop.fitted import fitted
from hmhsa_insert.training.loop.freeze import Freezer
from hmhsa_insert.training.loop.optimizer import make_average, make_optimizer, make_schedule
from hmhsa_insert.training.loop.progress import Progress
from hmhsa_insert.training.loop.small_batch import check_one_image
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.network import TrainableModel
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.reporter import Reporter
from hmhsa_insert.training.task import Task


def assemble(
    planned: Task, network: TrainableModel, accelerator: Accelerator, checkpoints: Path, reporter: Reporter
) -> Loop:
    """Return the loop of a run at its first update.

    Args:
        planned: the run.
        network: its network, on the CPU; moved to accelerate's device.
        accelerator: made from the run's settings.
        checkpoints: folder of the checkpoints.
        reporter: receives the progress.

    Raises:
        SettingsError: settings that do not fit the network, the data or the number of processes.
    """
    settings, model = planned.settings, network.model
    _refuse_average_of_shards(planned, accelerator)
    rank, world = accelerator.process_index, accelerator.num_processes
    shares = Shares(settings.batch_size, settings.accumulate, rank, world, settings.epoch_steps)
    pin = accelerator.device.type == "cuda"
    train_loader = planned.train_batches(network, shares, pin)
    eval_loader = planned.eval_batches(model, planned.eval_batch_size(shares), rank, world, pin)
    objective = planned.objective(shares)
    tuned, notes = fitted(settings, model, network.fresh)
    for note in notes:
        reporter.note(note)
    freezer = Freezer(model, tuned, network.fresh)
    if shares.micro_batch == 1:
        model.train()
        freezer.begin(settings.epochs - 1)
        check_one_image(*planned.one_image(network))
    if (left := len(planned.data.train) % settings.batch_size) and settings.epoch_steps is None:
        images = f"{left} of {len(planned.data.train):,} images"
        reporter.note(f"{images}, others each epoch, do not fill a batch and are left out")
    if settings.compute.channels_last:
        model.to(memory_format=torch.channels_last)
    # The average is copied from the network on its device, and before a wrapper changes its forward.
    average = make_average(model.to(accelerator.device), settings)
    if settings.compute.compile:
        model.compile()
    optimizer = make_optimizer(model, tuned, network.fresh)
    schedule = make_schedule(optimizer, settings, train_loader.updates)
    wrapped, prepared = accelerator.prepare(model, optimizer)
    return Loop(
        accelerator=accelerator,
        task=planned,
        settings=settings,
        seed=planned.seed,
        model=wrapped,
        bare=accelerator.unwrap_model(wrapped),
        average=average,
        optimizer=prepared,
        schedule=schedule,
        objective=objective,
        freezer=freezer,
        split=planned.data.train,
        train_loader=train_loader,
        eval_loader=eval_loader,
        progress=Progress(accelerator),
        checkpoints=checkpoints,
        reporter=reporter,
    )


def _refuse_average_of_shards(planned: Task, accelerator: Accelerator) -> None:
    if accelerator.distributed_type == DistributedType.FSDP and planned.settings.ema is not None:
        message = "there is no EMA of weights that FSDP shards across processes"
        raise SettingsError(Problem("ema", message, "`overrides=['ema=null']`"))
