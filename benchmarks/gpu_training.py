"""How fast `gpu.py`'s device trains: the loop of ``hmhsa-insert train`` itself, and an epoch of Mask R-CNN.

The batch of the loop is on the device already, so that disks and decoders do not count. Of one setting the networks
take turns, a few updates each, and every round gives one ratio to the plain one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd
import torch
from gpu_checks import Where
from gpu_measure import Budget, Row
from train_loop import make_loop

from hmhsa_insert.costs.latency import quantile
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.errors import first_line
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.run_tables import TIMING

RECIPES = (None, "bottleneck.yaml", "stage3.yaml")


class Compute(NamedTuple):
    """How a training computes."""

    precision: str
    channels_last: bool
    compile: bool

    @property
    def words(self) -> str:
        """The setting in words."""
        ways = [
            name for name, on in (("channels_last", self.channels_last), ("compiled", self.compile)) if on
        ]
        return " ".join(["float32" if self.precision == "no" else self.precision, *ways])


COMPUTES = (
    Compute("bf16", True, True),
    Compute("bf16", True, False),
    Compute("bf16", False, False),
    Compute("no", False, False),
)


class Work(NamedTuple):
    """How much one update is: network, side of the images, images, and updates of a network's turn."""

    model: str
    size: int
    batch: int
    updates: int


@dataclass
class Contestant:
    """One network: its loop, the memory that it takes, why it does not run, and the seconds of its rounds."""

    loop: Loop | None = None
    peak_mib: float | None = None
    note: str = ""
    seconds: list[float] = field(default_factory=list)


class Prepared:
    """Stands in for a loader: one batch that is on the device already, as often as asked."""

    def __init__(self, batch: Batch, updates: int) -> None:
        self._batch, self.updates = batch, updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Batch]:
        """Yield the batch once for every update that is left."""
        return iter([self._batch] * (self.updates - first_update))


def training(budget: Budget) -> Iterator[Row]:
    """Yield the rows of the loop: ResNet-50, plain and with shipped recipes."""
    quick = budget.where.quick
    work = Work("resnet18", 32, 4, 1) if quick else Work("resnet50", 224, 128, 10)
    for compute in COMPUTES[2:] if quick else COMPUTES:
        if budget.is_over:
            return
        found = {recipe or "plain": _contestant(recipe, compute, work, budget.where) for recipe in RECIPES}
        running = [each for each in found.values() if each.loop is not None]
        for number in range(budget.rounds):
            first = number % max(len(running), 1)
            for each in running[first:] + running[:first]:
                assert each.loop is not None
                each.seconds.append(_timed(each.loop, budget.where))
        base = found["plain"].seconds
        yield from (_row(name, each, compute, base, work) for name, each in found.items())


def _contestant(recipe: str | None, compute: Compute, work: Work, where: Where) -> Contestant:
    """Build a network and its loop, warm it up, and measure the memory that it takes by itself."""
    before = torch.cuda.memory_allocated() if where.on_gpu else 0
    try:
        loop = _loop(recipe, compute, work, where)
        _timed(loop, where)  # compiles, chooses algorithms, makes the optimizer's state
        if not where.on_gpu:
            return Contestant(loop)
        torch.cuda.reset_peak_memory_stats()
        _timed(loop, where)
        return Contestant(loop, (torch.cuda.max_memory_allocated() - before) / 2**20)
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        return Contestant(note=first_line(error)[:120])


def _loop(recipe: str | None, compute: Compute, work: Work, where: Where) -> Loop:
    chosen = {**compute._asdict(), "device": "auto" if where.on_gpu else "cpu"}
    settings = {"epochs": 1000, "batch_size": work.batch, "input_size": work.size, "compute": chosen}
    loop = make_loop(plan_run(work.model, "digits", recipe=recipe, settings=settings))
    whole = torch.arange(work.batch)
    images = torch.randn(work.batch, 1, work.size, work.size, device=where.device)
    ready = Batch(images, (whole % 10).to(where.device), whole, torch.zeros(work.batch, dtype=torch.bool))
    loop.train_loader = Prepared(ready, work.updates)  # type: ignore[assignment]
    return loop


def _timed(loop: Loop, where: Where) -> float:
    """Return the seconds of an epoch of the loop's prepared updates."""
    where.wait()
    start = time.perf_counter()
    loop.train_epoch()
    where.wait()
    loop.progress.close_epoch()
    return time.perf_counter() - start


def _row(name: str, each: Contestant, compute: Compute, base: list[float], work: Work) -> Row:
    row = {
        "section": f"training {work.model}",
        "candidate": name,
        "setting": compute.words,
        "mode": "training",
    }
    row |= {"batch": str(work.batch), "size": f"3×{work.size}×{work.size}", "note": each.note}
    if not each.seconds:
        return row
    speeds = [work.batch * work.updates / seconds for seconds in each.seconds]
    row |= {"images_per_s": f"{median(speeds):.1f}", "ms": f"{1e3 * work.batch / median(speeds):.3f}"}
    if each.peak_mib is not None:
        row["peak_mib"] = f"{each.peak_mib:.0f}"
    if ratios := [theirs / own for own, theirs in zip(each.seconds, base, strict=False)]:
        row |= {"speed": f"{median(ratios):.3f}", "speed_p10": f"{quantile(ratios, 0.1):.3f}"}
        row["speed_p90"] = f"{quantile(ratios, 0.9):.3f}"
    return row


def detection(budget: Budget) -> Iterator[Row]:
    """Yield the rows of one epoch of Mask R-CNN on the shapes set, images read and first updates included."""
    quick = budget.where.quick
    model, images, batch, side = ("resnet18", 10, 2, 128) if quick else ("resnet50", 400, 8, 1067)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "shapes"
        make_shapes(data, images, size=side)  # 800 by 1067: the shorter side as it is
        for precision in ("no",) if quick else ("bf16", "no"):
            plain = 0.0
            for recipe in (None, "bottleneck") if quick else (None, "bottleneck", "stage3"):
                if budget.is_over:
                    return
                folder = Path(scratch) / f"{recipe}-{precision}"
                speed, memory = _epoch(model, data, recipe, precision, batch, quick, budget.where, folder)
                plain = plain or speed
                named = {"section": "Mask R-CNN", "candidate": recipe or "plain", "mode": "training"}
                named |= {"setting": "float32" if precision == "no" else precision, "batch": str(batch)}
                figures = {"images_per_s": f"{speed:.2f}", "speed": f"{speed / plain:.3f}", "note": ""}
                yield (
                    named
                    | {"size": f"3×{side}×{side}", "peak_mib": f"{memory:.0f}" if memory else ""}
                    | figures
                )


def _epoch(
    model: str,
    data: Path,
    recipe: str | None,
    precision: str,
    batch: int,
    quick: bool,
    where: Where,
    folder: Path,
) -> tuple[float, float | None]:
    """Return images/s and peak memory in MiB of one epoch by the command's own code."""
    overrides = [
        *("epochs=1", f"batch_size={batch}", f"compute.precision={precision}"),
        *("schedule.name=constant", "schedule.milestones=[]"),
        *(("detector.min_size=128", "detector.max_size=128") if quick else ()),
        *(() if where.on_gpu else ("compute.device=cpu",)),
    ]
    if where.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    train_run(plan_detection(model, data, task="segment", recipe=recipe, overrides=overrides), folder)
    timing = pd.read_csv(folder / TIMING).iloc[-1]
    memory = float(timing["memory_mib"])
    return float(timing["images_per_s"]), memory if memory == memory else None
