"""How much of a bare loop's speed the training loop keeps: ``python benchmarks/train_loop.py``.

Three loops do the same work: the same PNG files, transforms, network, loss, optimiser and schedule, in one process.

- ours: ``hmhsa_insert.training.loop.Loop``, with its seeded draws, counts and checks;
- bare: a DataLoader and the five lines of every PyTorch tutorial;
- timm: the parts of timm's own ``train_one_epoch``, with timm's loader.

They take turns, an epoch each, and every round gives one ratio: what else the machine does falls on all alike. The
clock is the process's CPU time unless ``--clock wall`` is given; one thread, unless ``--threads`` says more.

``--gpu`` measures ResNet-50 at 224 with and without H-MHSA instead, in float32 and bf16, channels_last and compiled,
on batches that are in memory already, and writes ``reports/train_gpu.md``; without a GPU it says so.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_dataset, create_loader
from timm.utils import AverageMeter
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.training.assemble import assemble
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop import Loop
from hmhsa_insert.training.network import build_network
from hmhsa_insert.training.parts import make_loss, make_optimizer, make_schedule
from hmhsa_insert.training.plan_run import PlannedRun, plan_run
from hmhsa_insert.training.processes import make_accelerator
from hmhsa_insert.training.reporter import Silent
from hmhsa_insert.training.transforms import train_transform

REPORT = Path(__file__).parents[1] / "reports" / "train_gpu.md"
RATIO = 0.97


def main() -> None:
    options = parse()
    if options.gpu:
        measure_gpu(options)
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images, options.size)
        planned = plan(options, folder)
        contestants = {"ours": ours(planned), "bare": bare(planned), "timm": timms(planned, folder)}
        compare(contestants, options, planned.settings.batch_size)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--gpu", action="store_true")
    return parser.parse_args()


def write_images(folder: Path, count: int, size: int) -> None:
    """Write `count` digits, enlarged to colour images, into folders of classes, and a few for validation."""
    digits = load_digits()
    for split, first, number in (("train", 0, count), ("val", count, 20)):
        for index in range(first, first + number):
            target = folder / split / str(digits.target[index])
            target.mkdir(parents=True, exist_ok=True)
            pixels = (digits.images[index] * 15).astype(np.uint8)
            Image.fromarray(pixels).convert("RGB").resize((size, size)).save(target / f"{index}.png")


def plan(options: argparse.Namespace, folder: str) -> PlannedRun:
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


def parts(planned: PlannedRun, updates: int) -> tuple[nn.Module, nn.Module, Any, Any]:
    """Return network, loss, optimiser and schedule: the same for all."""
    network = build_network(planned.model, planned.data, planned.settings, seed=planned.seed)
    optimizer = make_optimizer(network.model, planned.settings, ())
    schedule = make_schedule(optimizer, planned.settings, updates)
    return network.model.train(), make_loss(planned.settings), optimizer, schedule


def ours(planned: PlannedRun) -> Callable[[], None]:
    loop = make_loop(planned)

    def epoch() -> None:
        loop.train_epoch()
        loop.progress.close_epoch()

    return epoch


def make_loop(planned: PlannedRun) -> Loop:
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


def bare(planned: PlannedRun) -> Callable[[], None]:
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


def timms(planned: PlannedRun, folder: str) -> Callable[[], None]:
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
    # timm's own transforms, but for a posterisation to no bits, which Pillow 13 refuses.
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


def compare(contestants: dict[str, Callable[[], None]], options: argparse.Namespace, batch_size: int) -> None:
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    images = options.images // batch_size * batch_size
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds + 1):
        # Each begins a round in turn: the first of a round finds other caches than the last.
        names = list(contestants)[number % 3 :] + list(contestants)[: number % 3]
        for name in names:
            start = clock()
            contestants[name]()
            if number:  # the first round warms up
                seconds[name].append(clock() - start)
    print(
        f"{options.model} at {options.size}, batch {batch_size}, {images} images a round, {options.clock} time"
    )
    for name, each in seconds.items():
        print(f"  {name:5} {images / statistics.median(each):8.1f} images/s")
    for other in ("bare", "timm"):
        ratios = sorted(b / a for a, b in zip(seconds["ours"], seconds[other], strict=True))
        middle = statistics.median(ratios)
        verdict = "ok" if middle >= RATIO else "TOO SLOW"
        print(f"  ours / {other}: {middle:.3f}  (rounds {ratios[0]:.3f} to {ratios[-1]:.3f})  {verdict}")


class _Prepared:
    """Stands in for a loader: one batch that is on the device already, as often as asked."""

    def __init__(self, batch: Batch, updates: int) -> None:
        self._batch, self.updates = batch, updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Batch]:
        return iter([self._batch] * (self.updates - first_update))


def measure_gpu(options: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        print("no GPU here: run this where there is one, it writes reports/train_gpu.md")
        sys.exit(0)
    batch, lines = max(options.batch, 256), []
    for recipe in (None, "bottleneck.yaml", "stage3.yaml"):
        for precision, layout, compiled in (
            ("no", False, False),
            ("bf16", False, False),
            ("bf16", True, False),
            ("bf16", True, True),
        ):
            speed, memory = gpu_run(recipe, precision, layout, compiled, batch)
            cells = (recipe or "plain", precision, layout, compiled, f"{speed:.0f}", f"{memory:.0f}")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
            print(lines[-1], flush=True)
    here = environment()
    title = f"# Training speed of ResNet-50 at 224, batch {batch}\n\n{torch.cuda.get_device_name()}, {here.versions}\n"
    head = (
        "| recipe | precision | channels_last | compiled | images/s | peak MiB |\n|---|---|---|---|---|---|\n"
    )
    REPORT.write_text(f"{title}\n`python benchmarks/train_loop.py --gpu`\n\n{head}" + "\n".join(lines) + "\n")
    print(f"wrote {REPORT}")


def gpu_run(
    recipe: str | None, precision: str, layout: bool, compiled: bool, batch: int
) -> tuple[float, float]:
    """Return images/s and peak memory in MiB of one setting, by the loop's own code."""
    compute = {"precision": precision, "channels_last": layout, "compile": compiled}
    settings = {"epochs": 1, "batch_size": batch, "input_size": 224, "compute": compute}
    loop = make_loop(plan_run("resnet50", "digits", recipe=recipe, settings=settings))
    images = torch.randn(batch, 1, 224, 224, device="cuda")
    whole = torch.arange(batch)
    ready = Batch(images, (whole % 10).cuda(), whole, torch.zeros(batch, dtype=torch.bool))
    loop.train_loader = _Prepared(ready, 20)  # type: ignore[assignment]
    loop.train_epoch()  # compiles, and lets cudnn choose
    loop.progress.close_epoch()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    loop.train_epoch()
    torch.cuda.synchronize()
    speed = 20 * batch / (time.perf_counter() - start)
    return speed, torch.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    main()
