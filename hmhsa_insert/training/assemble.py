"""A planned run and its network, made into a loop: parts, loaders, and accelerate's wrappers around them."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.freeze import Freezer
from hmhsa_insert.training.loader import EvalLoader, TrainLoader
from hmhsa_insert.training.loop import Loop
from hmhsa_insert.training.network import Network
from hmhsa_insert.training.order import Shares
from hmhsa_insert.training.parts import make_average, make_loss, make_mixup, make_optimizer, make_schedule
from hmhsa_insert.training.plan_run import PlannedRun
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.progress import Progress
from hmhsa_insert.training.reporter import Reporter
from hmhsa_insert.training.transforms import eval_transform, train_transform


def assemble(
    planned: PlannedRun, network: Network, accelerator: Accelerator, checkpoints: Path, reporter: Reporter
) -> Loop:
    """Return the loop of a run at its first update.

    Args:
        planned: the run.
        network: its network, on the CPU; moved to accelerate's device.
        accelerator: made from the run's settings.
        checkpoints: folder of the checkpoints.
        reporter: is told.

    Raises:
        SettingsError: settings that do not fit the network, the data or the number of processes.
    """
    settings, data, model = planned.settings, planned.data, network.model
    if accelerator.distributed_type == DistributedType.FSDP and settings.ema is not None:
        message = "an average of weights that FSDP divides among processes is not kept"
        raise SettingsError(Problem("ema", message, "--set ema=null"))
    shares = Shares(
        settings.batch_size, settings.accumulate, accelerator.process_index, accelerator.num_processes
    )
    train_loader, eval_loader = _loaders(planned, network, shares, pin=accelerator.device.type == "cuda")
    mixup = make_mixup(settings, data.num_classes, shares.micro_batch)
    freezer = Freezer(model, settings, network.fresh)
    if settings.compute.channels_last:
        model.to(memory_format=torch.channels_last)
    # The average is copied from the network on its device, and before a wrapper changes its forward.
    average = make_average(model.to(accelerator.device), settings)
    if settings.compute.compile:
        model.compile()
    optimizer = make_optimizer(model, settings, network.fresh)
    schedule = make_schedule(optimizer, settings, train_loader.updates)
    wrapped, prepared = accelerator.prepare(model, optimizer)
    return Loop(
        accelerator=accelerator,
        settings=settings,
        seed=planned.seed,
        model=wrapped,
        bare=accelerator.unwrap_model(wrapped),
        average=average,
        optimizer=prepared,
        schedule=schedule,
        loss=make_loss(settings),
        mixup=mixup,
        freezer=freezer,
        split=data.train,
        train_loader=train_loader,
        eval_loader=eval_loader,
        progress=Progress(accelerator),
        checkpoints=checkpoints,
        reporter=reporter,
    )


def _loaders(
    planned: PlannedRun, network: Network, shares: Shares, pin: bool
) -> tuple[TrainLoader, EvalLoader]:
    settings, data, channels = planned.settings, planned.data, network.channels
    workers = settings.loader.workers
    train_loader = TrainLoader(
        data.train,
        train_transform(settings, network.model, channels),
        channels,
        shares,
        planned.seed,
        workers,
        pin,
    )
    eval_loader = EvalLoader(
        data.val,
        eval_transform(settings, network.model, channels),
        channels,
        # No gradients are kept, so that twice the images fit.
        2 * shares.micro_batch,
        shares.rank,
        shares.world,
        workers,
        pin,
    )
    return train_loader, eval_loader
