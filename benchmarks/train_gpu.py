"""Training speed and memory on a GPU: ``python benchmarks/train_gpu.py`` writes ``reports/train_gpu.md``.

ResNet-50 at 224 pixels, plain and with H-MHSA, by the code that ``hmhsa-insert train`` runs: in float32 and bf16, with
channels_last and compiled. The batch is on the device already, so that disks and decoders do not count. Of one setting
the networks take turns, a few updates each, and every round gives one ratio to the plain one. Without a GPU it says so;
``--device cpu --size 64 --batch 8`` only shows that the command works.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from train_loop import make_loop

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import quantile
from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.training.loader import Batch
from hmhsa_insert.training.loop.updates import Loop
from hmhsa_insert.training.plan_run import plan_run

REPORT = Path(__file__).parents[1] / "reports" / "train_gpu.md"
RECIPES = (None, "bottleneck.yaml", "stage3.yaml")
# Precision, channels_last, compiled.
SETTINGS = (("no", False, False), ("bf16", False, False), ("bf16", True, False), ("bf16", True, True))
HEAD = (
    "| network | precision | channels_last | compiled | images/s | p10 to p90 | against plain | peak MiB |\n"
    "|---|---|---|---|---:|---|---:|---:|"
)
console = Console()


def main() -> None:
    options = parse()
    if options.device == "cuda" and not torch.cuda.is_available():
        console.print("no GPU here: run this where there is one, it writes reports/train_gpu.md")
        sys.exit(0)
    lines = [HEAD]
    for number, setting in enumerate(SETTINGS[: options.settings], start=1):
        with console.status(f"setting {number} of {options.settings}: {setting}"):
            lines += rows(setting, options)
        console.print("\n".join(lines[-len(RECIPES) :]), highlight=False)
    options.output.write_text(report(lines, options), encoding="utf-8")
    console.print(f"wrote {options.output}", highlight=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--updates", type=int, default=10, help="of one network before the next one's turn")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="how many, from float32 on")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("-o", "--output", type=Path, default=REPORT, metavar="FILE")
    return parser.parse_args()


@dataclass
class Contestant:
    """One network: its loop (None: it did not fit), what it took, and the seconds of its rounds."""

    loop: Loop | None
    peak_mib: float | None
    seconds: list[float] = field(default_factory=list)


class Prepared:
    """Stands in for a loader: one batch that is on the device already, as often as asked."""

    def __init__(self, batch: Batch, updates: int) -> None:
        self._batch, self.updates = batch, updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Batch]:
        """Yield the batch once for every update that is left."""
        return iter([self._batch] * (self.updates - first_update))


def rows(setting: tuple[str, bool, bool], options: argparse.Namespace) -> list[str]:
    """Return the report's rows of one setting, a network each."""
    found = {recipe or "plain": contestant(recipe, setting, options) for recipe in RECIPES}
    running = [each for each in found.values() if each.loop is not None]
    for number in range(options.rounds):
        first = number % max(len(running), 1)
        for each in running[first:] + running[:first]:
            assert each.loop is not None
            each.seconds.append(timed(each.loop))
    base = found["plain"].seconds
    return [row(name, setting, each, base, options) for name, each in found.items()]


def contestant(
    recipe: str | None, setting: tuple[str, bool, bool], options: argparse.Namespace
) -> Contestant:
    """Build a network and its loop, warm it up, and measure the memory that it takes by itself."""
    on_gpu = options.device == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else 0
    try:
        loop = prepared_loop(recipe, setting, options)
        timed(loop)  # compiles, chooses algorithms, makes the optimizer's state
        if not on_gpu:
            return Contestant(loop, None)
        torch.cuda.reset_peak_memory_stats()
        timed(loop)
        return Contestant(loop, (torch.cuda.max_memory_allocated() - before) / 2**20)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return Contestant(None, None)


def prepared_loop(recipe: str | None, setting: tuple[str, bool, bool], options: argparse.Namespace) -> Loop:
    precision, layout, compiled = setting
    compute = {"precision": precision, "channels_last": layout, "compile": compiled}
    compute["device"] = "cpu" if options.device == "cpu" else "auto"
    settings = {"epochs": 1000, "batch_size": options.batch, "input_size": options.size, "compute": compute}
    loop = make_loop(plan_run(options.model, "digits", recipe=recipe, settings=settings))
    whole = torch.arange(options.batch)
    images = torch.randn(options.batch, 1, options.size, options.size, device=options.device)
    ready = Batch(
        images, (whole % 10).to(options.device), whole, torch.zeros(options.batch, dtype=torch.bool)
    )
    loop.train_loader = Prepared(ready, options.updates)  # type: ignore[assignment]
    return loop


def timed(loop: Loop) -> float:
    """Return the seconds of an epoch of the loop's prepared updates."""
    wait()
    start = time.perf_counter()
    loop.train_epoch()
    wait()
    loop.progress.close_epoch()
    return time.perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def row(
    name: str,
    setting: tuple[str, bool, bool],
    each: Contestant,
    base: list[float],
    options: argparse.Namespace,
) -> str:
    words = [
        name,
        "float32" if setting[0] == "no" else setting[0],
        *("yes" if on else "" for on in setting[1:]),
    ]
    if each.loop is None:
        return "| " + " | ".join([*words, "out of memory", "", "", ""]) + " |"
    images = options.batch * options.updates
    speeds = [images / seconds for seconds in each.seconds]
    spread = f"{quantile(speeds, 0.1):.0f} to {quantile(speeds, 0.9):.0f}"
    ratios = [theirs / own for own, theirs in zip(each.seconds, base, strict=False)]
    against = f"{statistics.median(ratios):.3f}" if ratios and name != "plain" else ""
    peak = f"{each.peak_mib:.0f}" if each.peak_mib is not None else ""
    return "| " + " | ".join([*words, f"{statistics.median(speeds):.0f}", spread, against, peak]) + " |"


def report(lines: list[str], options: argparse.Namespace) -> str:
    here = environment(Setting(options.device))
    versions = here.software("python", "torch", "timm")
    how = (
        f"{options.rounds} rounds in which the networks of one setting take turns, {options.updates} updates each; "
        "medians.\nWall time; the batch is on the device already. Peak: most allocated in an update, by this network "
        "alone."
    )
    title = f"# Training {options.model} at {options.size} pixels, batch {options.batch}"
    origin = (
        f"Made by `python benchmarks/train_gpu.py` on {here.device}, {here.cpu}, {here.system}; {versions}."
    )
    return "\n\n".join([title, "\n".join(lines), how, origin]) + "\n"


if __name__ == "__main__":
    main()
