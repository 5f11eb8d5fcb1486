"""Do scores of placements predict what training finds? The decisive experiment, one row a candidate and seed.

``python benchmarks/score.py run PICTURES [SETTING …]`` trains, in each setting, 24 blocks and the plain network for
three seeds, and computes every predictor for the same seeds, into ``runs/score/SETTING``; a seed that is done is not
done again. PICTURES is what ``benchmarks/pictures.py`` made. ``python benchmarks/score.py report`` writes
``reports/score.csv``, ``reports/score.md`` and ``reports/score.svg`` (:mod:`score_report`).

The candidates are H-MHSA, convolutions of its MACs (`matched`) and its placebo at the ends of the stages 1 to 4, twice
each, at widths that make eight sizes. Each kind has each size once and each stage the same mean of their logarithms, so
that neither kind nor stage says how many parameters a candidate has.
"""

from __future__ import annotations

import csv
import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmhsa_insert.placement.align import Branch, align
from hmhsa_insert.placement.candidates import Candidate, find_candidates
from hmhsa_insert.placement.prior import BATCHES, STEPS
from hmhsa_insert.placement.race import lead, race, race_settings
from hmhsa_insert.placement.record import Recorded, record
from hmhsa_insert.placement.spill import Store
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.task import Task

SEEDS, SHARE = 3, 0.25
KINDS, STAGES, SIZES = ("hmhsa", "matched", "placebo"), (1, 2, 3, 4), 8
WIDTHS = (4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80)
_TRAINING: dict[str, Any] = {
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05, "clip_norm": 5.0},
    "schedule": {"name": "cosine", "warmup_epochs": 0.25, "warmup_lr": 1e-4, "min_lr": 1e-5},
    "augment": {"scale": [0.7, 1.0], "ratio": [0.9, 1.1], "crop_pct": 1.0},
    "loss": {"name": "ce", "label_smoothing": 0.1},
    "epochs": 1,
    "loader": {"workers": 0},
}


@dataclass(frozen=True)
class Setting:
    """A network, data and a training.

    Attributes:
        model: timm's name.
        data: as ``train`` takes it, PICTURES written ``{pictures}``.
        training: what of the settings is its own.
        weights: what the network begins with, ``{pictures}`` and ``{runs}`` filled in; empty: from scratch.
    """

    model: str
    data: str
    training: Mapping[str, Any]
    weights: str = ""

    def task(self, pictures: Path, runs: Path, seed: int) -> Task:
        """Return the whole training of the plain network."""
        source = self.data.format(pictures=pictures)
        start = self.weights.format(pictures=pictures, runs=runs) or None
        run: Task = plan_run(
            self.model,
            source,
            settings=_TRAINING | dict(self.training),
            seed=seed,
            init_from=start,
            data_dir=pictures if source.startswith("torch/") else None,
        )
        return run


_FINE = {"optimizer": {"name": "adamw", "lr": 5e-4, "weight_decay": 0.05, "clip_norm": 5.0}}
_FLIPPED = {"augment": {"scale": [0.5, 1.0], "hflip": 0.5, "crop_pct": 1.0}}
SETTINGS = {
    "mnist": Setting("test_resnet", "mnist5k", {"batch_size": 50, "input_size": 36}),
    "fashion": Setting(
        "test_byobnet", "torch/fashion_mnist", {"batch_size": 64, "input_size": 32, "epoch_steps": 120}
    ),
    "emoji": Setting("test_nfnet", "{pictures}/emoji", {"batch_size": 64, "input_size": 32, **_FLIPPED}),
    "transfer": Setting(
        "test_resnet",
        "mnist5k",
        {"batch_size": 50, "input_size": 36, **_FINE},
        "{runs}/pretrained/best.safetensors",
    ),
}


@dataclass
class Row:
    """What one seed's training and predictors say of one candidate; the plain network's losses beside it."""

    setting: str
    seed: int
    name: str
    kind: str
    stage: int
    params: int
    macs: int
    plain_loss: float = math.nan
    loss: float = math.nan
    top1: float = math.nan
    cosine: float = math.nan
    gain: float = math.nan
    gain_8: float = math.nan
    gradient: float = math.nan
    snr: float = math.nan
    race: float = math.nan


@dataclass
class Spent:
    """CPU seconds of this process."""

    seconds: dict[str, float] = field(default_factory=dict)

    def on(self, what: str, began: float) -> None:
        """Add what has passed since `began`."""
        self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - began


def candidates(run: Task) -> list[Candidate]:
    """Return 24 blocks: each kind at each stage at two sizes, which are balanced over both."""
    base = run.base()
    specs: list[dict[str, Any]] = [{"type": "hmhsa", "head_dim": "auto", "width": width} for width in WIDTHS]
    specs += [{"type": "matched", "of": spec} for spec in specs]
    ladders: dict[tuple[str, int], list[Candidate]] = {}
    for each in find_candidates(base.model, locate(base.model, base.size), specs).all:
        kind = kind_of(each)
        if kind and each.stage in STAGES:
            ladders.setdefault((kind, each.stage), []).append(each)
    least = max(min(each.num_params for each in ladder) for ladder in ladders.values())
    most = min(max(each.num_params for each in ladder) for ladder in ladders.values())
    sizes = np.geomspace(least, most, SIZES)
    chosen = []
    for number, kind in enumerate(KINDS):
        for stage in STAGES:
            low = (number + stage) % (SIZES // 2)
            for size in (sizes[low], sizes[SIZES - 1 - low]):
                ladder = ladders[kind, stage]
                nearest = min(ladder, key=lambda each: abs(math.log(each.num_params / size)))
                ladder.remove(nearest)
                chosen.append(nearest)
    return chosen


def kind_of(candidate: Candidate) -> str:
    """Return the kind of a candidate; empty for the placebo of a convolution."""
    own = candidate.name.partition("[")[0]
    return own if not candidate.control_of else "placebo" if own == "hmhsa" else ""


def run_setting(name: str, pictures: Path, runs: Path) -> None:
    """Train and score a setting, seed by seed; a seed that was not finished is begun again."""
    if "{runs}" in SETTINGS[name].weights:
        _pretrain(runs / "pretrained", pictures)
    for seed in range(SEEDS):
        folder, spent = runs / name / f"seed{seed}", Spent()
        if (folder / "spent.csv").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        run = SETTINGS[name].task(pictures, runs, seed)
        chosen = candidates(run)
        rows = {
            each.name: Row(name, seed, each.name, kind_of(each), each.stage, each.num_params, each.macs)
            for each in chosen
        }
        _score(run, chosen, rows, spent)
        _train(run, chosen, rows, folder, spent)
        with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [each.name for each in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows.values())
        with (folder / "spent.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(spent.seconds.items())
        print(name, seed, {key: round(value) for key, value in spent.seconds.items()}, flush=True)


def _score(run: Task, chosen: list[Candidate], rows: Mapping[str, Row], spent: Spent) -> None:
    """Fill in what is known before anything is trained."""
    cpu = torch.device("cpu")
    with Store(2 * 2**30) as store:
        began = time.process_time()
        found = record(run, {each.stage for each in chosen}, BATCHES, store, device=cpu)
        spent.on("record", began)
        for each in chosen:
            row, recorded = rows[each.name], found[each.stage]
            began = time.process_time()
            own = align(each, recorded, STEPS, run.seed, cpu)
            row.cosine, row.gain = own.cosine, own.gain
            spent.on("align", began)
            began = time.process_time()
            row.gain_8 = align(each, recorded, 8, run.seed, cpu).gain
            spent.on("align_8", began)
            began = time.process_time()
            row.gradient, row.snr = _gradient(each, recorded, run.seed)
            spent.on("gradient", began)


def _gradient(candidate: Candidate, recorded: Recorded, seed: int) -> tuple[float, float]:
    """Return ‖E ∂L/∂γ‖ of an untrained block, and the mean over channels of its ratio to its spread over batches."""
    branch = Branch(candidate, seed).train()
    with torch.no_grad():
        sums: list[Tensor] = [
            (g * branch(x)).sum((0, 2, 3)) for x, g in zip(recorded.maps, recorded.gradients, strict=True)
        ]
    each = torch.stack(sums).double()
    ratio = each.mean(0).abs() / (each.std(0) / math.sqrt(len(sums))).clamp_min(1e-300)
    return float(each.mean(0).norm()), float(ratio.mean())


def _train(run: Task, chosen: list[Candidate], rows: Mapping[str, Row], folder: Path, spent: Spent) -> None:
    """Fill in what trainings find: whole ones, and short ones of the race."""
    updates = run.settings.epoch_steps or len(run.data.train) // run.settings.batch_size
    lengths = {
        "whole": run.settings,
        "race": race_settings(run.settings, SHARE, updates),
    }
    for length, settings in lengths.items():
        own, below = replace(run, settings=settings), folder / length
        began = time.process_time()
        plain = race(own, None, below / "plain")
        spent.on(f"{length} plain", began)
        for each in chosen:
            row, name = rows[each.name], str(each.recipe.name)
            began = time.process_time()
            losses = race(own, each.recipe.to_dict(), below / name)
            spent.on(length, began)
            if length == "race":
                ahead = lead(plain, losses)
                row.race = ahead.mean if ahead else float((plain - losses)[len(plain) // 2 :].mean())
            else:
                row.plain_loss = _last(below / "plain")["val_loss"]
                row.loss, row.top1 = (_last(below / name)[key] for key in ("val_loss", "top1"))


def _last(folder: Path) -> dict[str, float]:
    """Return the last line of a run's ``metrics.csv``."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return {key: float(value) for key, value in list(csv.DictReader(file))[-1].items() if value}


def _pretrain(folder: Path, pictures: Path) -> None:
    """Train `test_resnet` on all of Fashion-MNIST for an epoch, so that another training can begin with its weights."""
    if not (folder / "result.json").exists():
        training = _TRAINING | {"batch_size": 64, "input_size": 36}
        run: Task = plan_run("test_resnet", "torch/fashion_mnist", settings=training, data_dir=pictures)
        print("pretrained on Fashion-MNIST:", train_run(run, folder).best, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["run", pictures, *names]:
            for name in names or SETTINGS:
                run_setting(name, Path(pictures), Path("runs/score"))
        case ["report"]:
            from score_report import write_report

            write_report(Path("runs/score"), Path("reports"), list(SETTINGS))
        case _:
            sys.exit(__doc__)
