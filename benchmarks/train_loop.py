"""How much of a bare loop's speed the training loop keeps: ``python benchmarks/train_loop.py``.

Three loops do the same work: the same PNG files, transforms, network, loss, optimizer and schedule, in one process.

- ours: ``hmhsa_insert.training.loop.updates.Loop``, with its seeded draws, counts and checks;
- bare: a DataLoader and the five lines of every PyTorch tutorial;
- timm: the parts of timm's own ``train_one_epoch``, with timm's loader.

They take turns, an epoch each, and every round gives one ratio: what else the machine does falls on all alike. The
clock is the process's CPU time unless ``--clock wall`` is given; one thread, unless ``--threads`` says more.

Writes ``reports/train_loop.md``. Training on a GPU is measured by ``benchmarks/gpu.py``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from sklearn.datasets import load_digits
from timm.data import create_dataset, create_loader
from timm.utils import AverageMeter
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import CLOCKS, quantile
from hmhsa_insert.training.data.transforms import train_transform
from hmhsa_insert.training.loop.assemble import assemble
from hmhsa_insert.training.loop.optimizer import make_loss, make_optimizer, make_schedule
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.network import build_network
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.processes import make_accelerator
from hmhsa_insert.training.reporter import Silent
from hmhsa_insert.training.task import Task

REPORT = Path(__file__).parents[1] / "reports" / "train_loop.md"


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images, options.size)
        planned = plan(options, folder)
        contestants = {"ours": ours(planned), "bare": bare(planned), "timm": timms(planned, folder)}
        seconds = take_turns(contestants, options)
    options.output.write_text(report(seconds, options), encoding="utf-8")
    print(f"{options.output.read_text(encoding='utf-8')}\nwrote {options.output}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--images", type=int, default=256, help="in an epoch; a multiple of the batch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=REPORT, metavar="FILE")
    return parser.parse_args()


def write_images(folder: Path, count: int, size: int) -> None:
    """Write `count` digits, enlarged to color images, into folders of classes, and a few for validation."""
    digits = load_digits()
    for split, first, number in (("train", 0, count), ("val", count, 20)):
        for index in range(first, first + number):
            target = folder / split / str(digits.target[index])
            target.mkdir(parents=True, exist_ok=True)
            pixels = (digits.images[index] * 15).astype(np.uint8)
            Image.fromarray(pixels).convert("RGB").resize((size, size)).save(target / f"{index}.png")


def plan(options: argparse.Namespace, folder: str) -> Task:
    settings = {
        "epochs": 1000,
        "batch_size": options.batch,
        "input_size": options.size,
        "augment": {"hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1", "scale": [0.5, 1.0]},
        "loss": {"label_smoothing": 0.1},
        "compute": {"device": "cpu"},
        "loader": {"workers": 0},
    }
    return plan_run(options.model, folder, settings=settings)


def parts(planned: Task, updates: int) -> tuple[nn.Module, nn.Module, Any, Any]:
    """Return network, loss, optimizer and schedule: the same for all."""
    network = build_network(planned.model, planned.data, planned.settings, seed=planned.seed)
    optimizer = make_optimizer(network.model, planned.settings, ())
    schedule = make_schedule(optimizer, planned.settings, updates)
    return network.model.train(), make_loss(planned.settings), optimizer, schedule


def ours(planned: Task) -> Callable[[], None]:
    loop = make_loop(planned)

    def epoch() -> None:
        loop.train_epoch()
        loop.progress.close_epoch()

    return epoch


def make_loop(planned: Task) -> Loop:
    network = build_network(
        planned.model, planned.data, planned.settings, recipe=planned.recipe, seed=planned.seed
    )
    accelerator = make_accelerator(planned.settings)
    return assemble(planned, network, accelerator, Path("unused"), Silent())


class _Files(Dataset[tuple[torch.Tensor, int]]):
    """What the tutorial's data set does: open, convert, transform."""

    def __init__(self, folder: str, transform: Any) -> None:
        self._samples = create_dataset("", root=folder, split="train").reader.samples
        self._transform = transform

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self._samples[index]
        return self._transform(Image.open(path).convert("RGB")), target

    def __len__(self) -> int:
        return len(self._samples)


def bare(planned: Task) -> Callable[[], None]:
    settings = planned.settings
    updates = len(planned.data.train.targets) // settings.batch_size  # type: ignore[union-attr]
    model, criterion, optimizer, schedule = parts(planned, updates)
    files = _Files(planned.data.source, train_transform(settings, model, 3))
    loader = DataLoader(files, settings.batch_size, shuffle=True, drop_last=True)
    total = 0

    def epoch() -> None:
        nonlocal total
        running = 0.0
        for images, targets in loader:
            loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += 1
            schedule.step_update(total)
            running += loss.item()

    return epoch


def timms(planned: Task, folder: str) -> Callable[[], None]:
    settings = planned.settings
    updates = len(planned.data.train.targets) // settings.batch_size  # type: ignore[union-attr]
    model, criterion, optimizer, schedule = parts(planned, updates)
    loader = create_loader(
        create_dataset("", root=folder, split="train"),
        input_size=(3, settings.input_size, settings.input_size),
        batch_size=settings.batch_size,
        is_training=True,
        num_workers=0,
        persistent_workers=False,
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    # timm's own transforms, but for a posterization to no bits, which Pillow 13 refuses.
    loader.dataset.transform = train_transform(settings, model, 3)
    total = 0

    def epoch() -> None:
        nonlocal total
        model.train()
        losses = AverageMeter()
        for images, targets in loader:
            images, targets = images.to("cpu"), targets.to("cpu")
            loss = criterion(model(images), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += 1
            losses.update(loss.item(), images.size(0))
            schedule.step_update(num_updates=total, metric=losses.avg)

    return epoch


def take_turns(
    contestants: dict[str, Callable[[], None]], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the seconds of every contestant's epochs, one a round; a round before the first warms up."""
    clock = CLOCKS["process" if options.clock == "cpu" else "wall"]
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in track(range(options.rounds + 1), "rounds"):
        # Each begins a round in turn: the first of a round finds other caches than the last.
        names = list(contestants)[number % 3 :] + list(contestants)[: number % 3]
        for name in names:
            start = clock()
            contestants[name]()
            if number:
                seconds[name].append(clock() - start)
    return seconds


def report(seconds: dict[str, list[float]], options: argparse.Namespace) -> str:
    """Return the report: speeds, and the ratio of every round's epochs."""
    images = options.images // options.batch * options.batch
    titles = {
        "ours": "`hmhsa-insert train`'s loop",
        "bare": "a bare PyTorch loop",
        "timm": "timm's loop parts",
    }
    lines = []
    for name, times in seconds.items():
        ratios = [other / own for own, other in zip(times, seconds["bare"], strict=True)]
        spread = f"{quantile(ratios, 0.1):.3f} to {quantile(ratios, 0.9):.3f}" if name != "bare" else ""
        lines.append(
            f"| {titles[name]} | {images / statistics.median(times):.1f} | {statistics.median(ratios):.3f} | {spread} |"
        )
    to_timm = [other / own for own, other in zip(seconds["ours"], seconds["timm"], strict=True)]
    here = environment()
    versions = here.software("python", "torch", "timm")
    return "\n".join(
        [
            "# How much of a bare loop's speed the training loop keeps",
            "",
            "| loop | images/s | against the bare loop | p10 to p90 |",
            "|---|---:|---:|---|",
            *lines,
            "",
            f"Ours against timm's parts: {statistics.median(to_timm):.3f} "
            f"({quantile(to_timm, 0.1):.3f} to {quantile(to_timm, 0.9):.3f}).",
            "",
            f"{options.model} at {options.size} pixels, batch {options.batch}, {images} images an epoch, read from PNG "
            "files and augmented",
            f"(RandAugment); {options.rounds} rounds in which every loop does an epoch in turn, medians of the rounds' "
            "ratios;",
            f"{'CPU time of the process' if options.clock == 'cpu' else 'wall time'}, threads: {options.threads}.",
            f"Made by `python benchmarks/train_loop.py` on {here.system}, {here.cpu}, {here.cores} cores; {versions}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
