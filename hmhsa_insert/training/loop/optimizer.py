"""The parts of a training that timm provides, made from the settings: optimizer, schedule, loss, mixtures, average."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import torch
from timm.data.mixup import Mixup
from timm.loss import BinaryCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import (
    create_optimizer_v2,
    list_optimizers,
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import ClassifySettings

ParameterGroup = dict[str, Any]


def make_optimizer(model: nn.Module, settings: RunSettings, fresh: Collection[str]) -> torch.optim.Optimizer:
    """Return timm's optimizer over the parameters that require a gradient.

    Args:
        model: the network, not yet wrapped.
        settings: rates, decay, layer decay, and the factor of new parameters.
        fresh: names of the new parameters.

    Raises:
        SettingsError: timm does not know the optimizer.
    """
    chosen = settings.optimizer
    if chosen.name not in list_optimizers():
        tip = near(chosen.name, list_optimizers())
        raise SettingsError(Problem("optimizer.name", f"timm has no optimizer {chosen.name!r}", tip))
    options: dict[str, Any] = {"opt": chosen.name, "lr": settings.lr, "momentum": chosen.momentum}
    groups = parameter_groups(model, settings, fresh)
    try:
        made = create_optimizer_v2(groups, weight_decay=0.0, betas=chosen.betas, **options)
    except TypeError:  # it knows no betas
        made = create_optimizer_v2(groups, weight_decay=0.0, **options)
    return cast(torch.optim.Optimizer, made)


def parameter_groups(model: nn.Module, settings: RunSettings, fresh: Collection[str]) -> list[ParameterGroup]:
    """Return the optimizer's groups: weight decay and ``lr_scale`` of each.

    timm's rule: biases, norms, gammas (everything of one dimension) and what the network names never decay. Layer decay
    needs a network that says its layers (``group_matcher``).
    """
    skip: Collection[str] = getattr(model, "no_weight_decay", set)()
    decay = settings.optimizer.weight_decay
    layer_decay = settings.finetune.layer_decay
    if layer_decay is None or layer_decay == 1.0:
        groups = param_groups_weight_decay(model, decay, no_weight_decay_list=skip)
    else:
        groups = param_groups_layer_decay(model, decay, skip, layer_decay=layer_decay)
    scale = settings.finetune.new_lr_scale
    return groups if scale == 1.0 else _new_apart(groups, model, fresh, scale)


def _new_apart(
    groups: list[ParameterGroup], model: nn.Module, fresh: Collection[str], scale: float
) -> list[ParameterGroup]:
    """Move new parameters into groups of their own, at `scale` times the learning rate whatever their layer."""
    new = {id(parameter) for name, parameter in model.named_parameters() if name in fresh}
    apart: dict[float, ParameterGroup] = {}
    for group in groups:
        theirs = [parameter for parameter in group["params"] if id(parameter) in new]
        if theirs:
            empty = {"params": [], "weight_decay": group["weight_decay"], "lr_scale": scale}
            apart.setdefault(group["weight_decay"], empty)["params"].extend(theirs)
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in new]
    return [group for group in groups if group["params"]] + list(apart.values())


def make_schedule(optimizer: torch.optim.Optimizer, settings: RunSettings, updates: int) -> Scheduler:
    """Return timm's schedule, stepped once per update; `updates` is how many an epoch has.

    It has no state: the rate is a function of the update's number, so a run that goes on needs none saved.
    """
    chosen = settings.schedule
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=chosen.name,
        num_epochs=settings.epochs,
        warmup_epochs=chosen.warmup_epochs,
        warmup_lr=min(chosen.warmup_lr, settings.lr),
        min_lr=min(chosen.min_lr, settings.lr),
        decay_epochs=chosen.decay_epochs,
        # timm decays one update before a milestone: half an update more is the first one after that epoch.
        decay_milestones=[epoch + 0.5 / updates for epoch in sorted(chosen.milestones)],
        decay_rate=chosen.decay_rate,
        step_on_epochs=False,
        updates_per_epoch=updates,
    )
    return cast(Scheduler, schedule)


def make_loss(settings: ClassifySettings) -> nn.Module:
    """Return the loss of scores N×classes against targets N, or N×classes where images are mixed."""
    smoothing = settings.loss.label_smoothing
    if settings.loss.name == "bce":
        return cast(nn.Module, BinaryCrossEntropy(smoothing=0.0 if settings.mixes else smoothing))
    if settings.mixes:  # Mixup smooths the targets it makes
        return cast(nn.Module, SoftTargetCrossEntropy())
    return cast(nn.Module, LabelSmoothingCrossEntropy(smoothing) if smoothing else nn.CrossEntropyLoss())


def make_mixup(settings: ClassifySettings, num_classes: int, micro_batch: int) -> Mixup | None:
    """Return timm's Mixup/CutMix, or None where it is off.

    Raises:
        SettingsError: batches of an odd number of images, which cannot be paired.
    """
    if not settings.mixes:
        return None
    if micro_batch % 2:
        message = f"mixup and cutmix pair images, and {micro_batch} in one forward is odd"
        raise SettingsError(Problem("batch_size", message))
    augment = settings.augment
    return Mixup(
        mixup_alpha=augment.mixup,
        cutmix_alpha=augment.cutmix,
        prob=augment.mix_prob,
        switch_prob=augment.switch_prob,
        label_smoothing=settings.loss.label_smoothing,
        num_classes=num_classes,
    )


def make_average(model: nn.Module, settings: RunSettings) -> ModelEmaV3 | None:
    """Return timm's moving average of the network's weights and buffers, or None where it is off."""
    if settings.ema is None:
        return None
    return ModelEmaV3(model, decay=settings.ema.decay, use_warmup=settings.ema.warmup)
