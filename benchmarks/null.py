"""How often does `suggest --data` see a gain where there is none? The pre-test over a hundred seeds, one line each.

``python benchmarks/null.py run CASE [SEEDS]`` adds to ``runs/null/CASE.csv`` what is not there yet; the cases are

- ``shuffled``: digits under each other's labels, which nothing can learn but by heart;
- ``cells``: the drawn solar cells of ``examples/solar_cells``, whose study finds no evidence that a block helps.

``python benchmarks/null.py report`` writes ``reports/null.md``. The mean lead over the seeds tells whether there was a
gain after all.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import beta

from hmhsa_insert.placement.pretest import pretest
from hmhsa_insert.training.data import open_data
from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.data.sources import Data

BLOCKS = ({"type": "hmhsa", "head_dim": "auto"}, {"type": "irb"})
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "input_size": 24,
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05, "clip_norm": 5.0},
    "augment": {"crop_pct": 1.0},
}
SEEDS, ENTRANTS, SHARE = 100, 2, 0.25


def shuffled(seed: int) -> Data:
    """Return the digits with their labels in another order."""
    data = open_data("digits")
    targets = np.random.default_rng(seed).permutation(data.train.targets)
    images = ChosenImages(data.train, np.arange(len(targets)), targets)  # type: ignore[arg-type]
    return replace(data, train=images, source="digits, shuffled", fingerprint=str(seed))


def cells(seed: int) -> Path:
    """Return a folder of pictures, drawn anew under each seed."""
    folder = Path("runs/null/cells/pictures", str(seed))
    script = Path(__file__).parents[1] / "examples/solar_cells/draw_cells.py"
    command = [sys.executable, str(script), str(folder), "--images", "1500", "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


CASES: dict[str, Callable[[int], Data | Path]] = {"shuffled": shuffled, "cells": cells}


def run(case: str, seeds: int) -> None:
    """Pre-test a case under each seed that its table does not have."""
    path = Path("runs/null", f"{case}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(len(path.read_text().splitlines()) if path.exists() else 0, seeds):
        folder = path.with_suffix("") / str(seed)
        shutil.rmtree(folder, ignore_errors=True)
        found = pretest(
            *("test_resnet", CASES[case](seed), BLOCKS),
            folder=folder,
            entrants=ENTRANTS,
            share=SHARE,
            settings=SETTINGS,
            seed=seed,
        )
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        leads = [each.lead.mean if each.lead else 0.0 for each in found.raced]
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([seed, len(found.best), found.apart, *leads])
        print(case, seed, found.verdict, flush=True)


def report() -> None:
    """Write what was found."""
    lines = [
        "# How often does `suggest --data` see a gain where there is none?",
        "",
        f"test_resnet, {len(BLOCKS)} blocks at 4 stages, the best {ENTRANTS} raced for {SHARE:.0%} of "
        f"{SETTINGS['epochs']} epochs against the plain network, 3 unchanged networks for the noise. The bar: no "
        "measurable gain in at least 95 of 100 seeds.",
        "",
        "| case | seeds | no measurable gain | share, 95 % (Clopper and Pearson) "
        "| root mean square of leads / of unchanged | mean lead, 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(Path("runs/null").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[float(cell) for cell in row] for row in csv.reader(file)]
        seeds, none = len(rows), sum(row[1] == 0 for row in rows)
        low = beta.ppf(0.025, none, seeds - none + 1) if none else 0.0
        high = beta.ppf(0.975, none + 1, seeds - none) if none < seeds else 1.0
        ratio = np.sqrt(
            np.mean([np.square(row[3:]).mean() for row in rows]) / np.mean([row[2] ** 2 for row in rows])
        )
        means = np.array([np.mean(row[3:]) for row in rows])
        error = 1.96 * means.std(ddof=1) / math.sqrt(seeds)
        lines.append(
            f"| {path.stem} | {seeds} | {none} | {low:.2f} to {high:.2f} | {ratio:.2f} "
            f"| {means.mean():+.5f} ± {error:.5f} |"
        )
    lines += ["", f"Made by `python benchmarks/null.py report`; torch {torch.__version__}, one thread.", ""]
    Path("reports/null.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["run", case, *seeds] if case in CASES:
            run(case, int(seeds[0]) if seeds else SEEDS)
        case ["report"]:
            report()
        case _:
            sys.exit(__doc__)
