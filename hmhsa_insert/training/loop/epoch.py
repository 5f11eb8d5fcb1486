"""The end of an epoch: evaluation, the row of metrics, the best weights, the run folder brought up to date."""

from __future__ import annotations

import math

import torch
from accelerate import DistributedType
from timm.utils import distribute_bn
from torch import nn

from hmhsa_insert.errors import Problem
from hmhsa_insert.quantities import score
from hmhsa_insert.training.interfaces import Evaluated, Split
from hmhsa_insert.training.loop.progress import Best, EpochRow, Sums
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.loop.weights import Weights
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.result import score_name
from hmhsa_insert.training.run_folder import BEST, RunFolder


def close_epoch(loop: Loop, folder: RunFolder, weights: Weights, val: Split) -> None:
    """Evaluate, write everything down, save a checkpoint; all processes call this together.

    A process killed anywhere in here goes on from the checkpoint before, and writes the same again.

    Raises:
        Interrupted: on a stop signal while it evaluated; the place is still that before the evaluation.
        TrainingError: scores that are not numbers.
        DataError: a damaged image, where those are errors.
        RunError: writing fails.
    """
    seconds, images_per_s = loop.speed()
    updates = loop.train_loader.updates
    loop.save_before_evaluation()
    found = _evaluations(loop)
    means = loop.progress.close_epoch()
    row = _row(loop, means, found)
    loop.progress.history.append(row)
    better = _better(loop, found)
    if better is not None:
        loop.progress.best = better
        weights.write(BEST, _model(loop, better.weights))
    timing: EpochRow = {"epoch": loop.progress.epoch, "train_s": round(seconds, 3), "updates": updates}
    timing |= {
        "images_per_s": round(images_per_s, 1),
        "eval_images_per_s": round(_counted(found).images_per_s, 1),
    }
    timing["memory_mib"] = _memory_mib(loop)
    if loop.accelerator.is_main_process:
        folder.write_metrics(loop.progress.history)
        folder.add_timing(timing)
        folder.write_predictions(_counted(found), val)
        loop.reporter.epoch(row, timing)
    loop.accelerator.log(dict(row), step=loop.progress.total)
    loop.save()


def evaluate_in_loop(loop: Loop, model: nn.Module) -> Evaluated:
    """Evaluate a network on the run's validation split.

    Raises:
        TrainingError: scores that are not numbers.
        DataError: a damaged image, where those are errors.
    """
    on_batch = loop.reporter.evaluating if loop.accelerator.is_main_process else None
    found = loop.task.evaluate(
        model,
        loop.evaluation_batches(),
        loop.accelerator,
        on_batch=on_batch,
        memory_format=loop.memory_format,
    )
    if found.damaged and loop.settings.loader.corrupt == "error":
        message = f"image {found.damaged[0]} of the validation split cannot be read"
        raise DataError(
            Problem("validation", message, "remove it, or skip it: `overrides=['loader.corrupt=skip']`")
        )
    return found


def _evaluations(loop: Loop) -> dict[str, Evaluated]:
    """Evaluate the network and its average."""
    if loop.accelerator.num_processes > 1 and loop.accelerator.distributed_type != DistributedType.FSDP:
        # Each process has running statistics of its own images; the first one's are those that are saved.
        for module in filter(None, [loop.bare, loop.average]):
            distribute_bn(module, loop.accelerator.num_processes)
    found = {"model": evaluate_in_loop(loop, _model(loop, "model"))}
    if loop.average is not None:
        found["ema"] = evaluate_in_loop(loop, loop.average.module)
    return found


def _counted(found: dict[str, Evaluated]) -> Evaluated:
    """Return the evaluation that counts: the average's, if there is one."""
    return found.get("ema", found["model"])


def _model(loop: Loop, weights: str) -> nn.Module:
    """Return the network with the trained or the averaged weights.

    FSDP's wrapper gathers the weights for every forward. DDP's is passed by: it would wait for processes that have
    fewer images.
    """
    if weights == "ema":
        assert loop.average is not None
        module: nn.Module = loop.average.module
        return module
    return loop.model if loop.accelerator.distributed_type == DistributedType.FSDP else loop.bare


def _row(loop: Loop, means: Sums, found: dict[str, Evaluated]) -> EpochRow:
    progress = loop.progress
    group = loop.schedule.optimizer.param_groups[0]
    row: EpochRow = {
        "epoch": progress.epoch,
        "updates": progress.total,
        "images": progress.total * loop.settings.batch_size,
        "lr": group["lr"] / group.get("lr_scale", 1.0),
        **{f"train_{name}": value for name, value in means.items()},
    }
    for weights, each in found.items():
        prefix = "ema_" if weights == "ema" else ""
        row |= {f"{prefix}{name}": value for name, value in each.row.items()}
    return row


def _better(loop: Loop, found: dict[str, Evaluated]) -> Best | None:
    """Return the best evaluation so far if it is one of these; one without a score is better than none."""
    best, column = loop.progress.best, loop.task.best
    sign = -1 if score(score_name(column)).better == "less" else 1

    def rank(value: float | None) -> float:
        return -math.inf if value is None else sign * value

    scores = {weights: each.row[column] for weights, each in found.items()}
    weights = max(scores, key=lambda each: rank(scores[each]))
    if best.epoch:
        # Of the history: a checkpoint's file holds no infinity, and so not the rank of a missing score.
        prefix = "ema_" if best.weights == "ema" else ""
        if rank(scores[weights]) <= rank(loop.progress.history[best.epoch - 1][f"{prefix}{column}"]):
            return None
    known = scores[weights]
    return Best(-1.0 if known is None else float(known), loop.progress.epoch, weights)


def _memory_mib(loop: Loop) -> float | None:
    """Return the most memory the first process's accelerator held, if it has one."""
    if loop.accelerator.device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(loop.accelerator.device) / 2**20, 1)
