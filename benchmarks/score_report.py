"""The tables and the plot of :mod:`score`: how well each predictor ranks candidates, beside their parameters.

A predictor of one seed is compared with the truth of the other seeds, so that nothing is predicted from itself:
Spearman's ρ and the regret, each the mean over the seeds. The truth of a candidate is how far its validation loss is
below the plain network's at the end of the whole training. Intervals: 95 %, of 2,000 bootstraps over candidates and
seeds together.
"""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BOOTSTRAPS, LEAST_RELIABLE = 2000, 10.0
CANDIDATES = 16  # as many as the costs are given for
Matrix = NDArray[np.float64]

# What each predictor is called, the column it is in, and the parts of a run that it costs, for all candidates.
PREDICTORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "parameters": ("params", ()),
    "MACs": ("macs", ()),
    "stage": ("stage", ()),
    "gradient of gamma": ("gradient", ("record", "gradient")),
    "its signal to noise": ("snr", ("record", "gradient")),
    "cosine, 30 steps": ("cosine", ("record", "align")),
    "gain, 30 steps": ("gain", ("record", "align")),
    "gain, 8 steps": ("gain_8", ("record", "align_8")),
    "race, a quarter": ("race", ("race", "race plain")),
    "another whole training": ("delta", ("whole", "whole plain")),
}


def write_report(runs: Path, out: Path, settings: Sequence[str]) -> None:
    """Write ``score.csv``, ``score.md`` and ``score.svg`` from what is done."""
    done = {name: sorted((runs / name).glob("seed*/rows.csv")) for name in settings}
    frames = {name: pd.concat(map(pd.read_csv, files)) for name, files in done.items() if len(files) > 1}
    pd.concat(frames.values()).to_csv(
        out / "score.csv", index=False, float_format="%.6g", lineterminator="\n"
    )
    spent = {name: _spent(runs / name) for name in frames}
    rng = np.random.default_rng(0)
    measured = {name: _measure(frame, rng) for name, frame in frames.items()}
    text = [
        _HEAD,
        _pooled(measured),
        *(_section(name, frames[name], measured[name], spent[name]) for name in frames),
    ]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread"
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    text.append(f"Made by `python benchmarks/score.py report` on {machine}; {versions}.\n")
    (out / "score.md").write_text("\n".join(text), encoding="utf-8")
    _plot(measured, out / "score.svg")


_HEAD = """# Do scores of placements predict what training finds?

24 candidates a setting: H-MHSA, convolutions of its MACs and its placebo, at the ends of stages 1 to 4, at widths that
make the number of parameters independent of kind and stage. ρ: Spearman's, of a predictor from one seed with what the
other seeds' whole trainings gained in validation loss; in brackets 95 % of bootstraps over candidates and seeds.
Regret: which part of (best − mean) is lost by taking the first, or the best of the first three. Cost: for 16
candidates, in whole trainings of one.

![ρ of each predictor](score.svg)
"""


class Measured:
    """Of each predictor: ρ, regret of the first and of the first three, and their bootstraps."""

    def __init__(
        self, rho: dict[str, Matrix], regret: dict[str, tuple[float, float]], reliability: float
    ) -> None:
        self.rho, self.regret, self.reliability = rho, regret, reliability


def _measure(frame: pd.DataFrame, rng: np.random.Generator) -> Measured:
    frame = frame.assign(delta=frame["plain_loss"] - frame["loss"])
    names = frame["name"].unique()
    wide = {column: _wide(frame, column, names) for column, _ in PREDICTORS.values()}
    truth = wide["delta"]
    seeds, count = truth.shape
    draws = [(np.arange(count), np.arange(seeds))]
    draws += [(rng.integers(count, size=count), rng.integers(seeds, size=seeds)) for _ in range(BOOTSTRAPS)]
    rho = {
        name: np.array([_rho(wide[column][:, of], truth[:, of], chosen) for of, chosen in draws])
        for name, (column, _) in PREDICTORS.items()
    }
    regret = {
        name: (_regret(wide[column], truth, 1), _regret(wide[column], truth, 3))
        for name, (column, _) in PREDICTORS.items()
    }
    noise = truth.var(0, ddof=1).mean() / seeds
    return Measured(rho, regret, float(truth.mean(0).var(ddof=1) / noise))


def _wide(frame: pd.DataFrame, column: str, names: Sequence[str]) -> Matrix:
    """Return a column as seeds × candidates."""
    return frame.pivot(index="seed", columns="name", values=column)[list(names)].to_numpy(float)


def _others(truth: Matrix, seed: int) -> Matrix:
    return np.delete(truth, seed, 0).mean(0)


def _rho(predictor: Matrix, truth: Matrix, seeds: Sequence[int]) -> float:
    found = [spearmanr(predictor[seed], _others(truth, seed)).statistic for seed in seeds]
    return float(np.mean(np.nan_to_num(found)))


def _regret(predictor: Matrix, truth: Matrix, first: int) -> float:
    lost = []
    for seed in range(len(truth)):
        others = _others(truth, seed)
        taken = others[np.argsort(-predictor[seed], kind="stable")[:first]].max()
        lost.append((others.max() - taken) / (others.max() - others.mean()))
    return float(np.mean(lost))


def _spent(folder: Path) -> dict[str, float]:
    """Return the CPU seconds of each part, summed over the seeds."""
    total: dict[str, float] = {}
    for path in folder.glob("seed*/spent.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for name, seconds in csv.reader(file):
                total[name] = total.get(name, 0.0) + float(seconds)
    return total


def _cost(parts: Sequence[str], spent: dict[str, float], seeds: int, candidates: int) -> float:
    one = spent["whole"] / seeds / candidates
    shared = ("record", "race plain", "whole plain")
    each = sum(spent[part] / seeds / candidates * CANDIDATES for part in parts if part not in shared)
    return (each + sum(spent[part] / seeds for part in parts if part in shared)) / one


def _interval(values: Matrix) -> str:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:+.2f} [{low:+.2f}, {high:+.2f}]"


def _section(name: str, frame: pd.DataFrame, measured: Measured, spent: dict[str, float]) -> str:
    seeds, candidates = frame["seed"].nunique(), frame["name"].nunique()
    judged = "" if measured.reliability > LEAST_RELIABLE else ": noise, no predictor can be judged"
    delta = frame.assign(delta=frame["plain_loss"] - frame["loss"]).groupby("name")["delta"].mean()
    lines = [
        f"## {name}",
        "",
        f"{candidates} candidates, {seeds} seeds, plain loss {frame['plain_loss'].mean():.3f}, best candidate "
        f"{delta.max():+.4f} below it, worst {delta.min():+.4f}; variance of the gains over its error "
        f"{measured.reliability:.1f}{judged}; ρ of parameters with the stage "
        f"{spearmanr(frame['params'], frame['stage']).statistic:+.2f}.",
        "",
        "| predictor | ρ | ρ − ρ(parameters) | regret 1 | 3 | cost |",
        "|---|---|---|---|---|---|",
    ]
    for predictor, (_, parts) in PREDICTORS.items():
        first, third = measured.regret[predictor]
        difference = (
            ""
            if predictor == "parameters"
            else _interval(measured.rho[predictor] - measured.rho["parameters"])
        )
        lines.append(
            f"| {predictor} | {_interval(measured.rho[predictor])} | {difference} | {first:.2f} | {third:.2f} "
            f"| {_cost(parts, spent, seeds, candidates):.2f} |"
        )
    return "\n".join([*lines, ""])


def _pooled(measured: dict[str, Measured]) -> str:
    """Return the means over the settings in which candidates differ by more than noise."""
    kept = {name: each for name, each in measured.items() if each.reliability > LEAST_RELIABLE}
    lines = [
        f"## Over the settings: {', '.join(kept) or 'none'}",
        "",
        "| predictor | mean ρ | mean ρ − ρ(parameters) | mean regret 1 | 3 |",
        "|---|---|---|---|---|",
    ]

    def mean(of: Callable[[Measured], Matrix]) -> Matrix:
        return np.mean([of(each) for each in kept.values()], 0)

    for name in PREDICTORS if kept else ():
        rho = mean(lambda each, name=name: each.rho[name])  # type: ignore[misc]
        base = mean(lambda each: each.rho["parameters"])
        regret = mean(lambda each, name=name: np.array(each.regret[name]))  # type: ignore[misc]
        difference = "" if name == "parameters" else _interval(rho - base)
        lines.append(f"| {name} | {_interval(rho)} | {difference} | {regret[0]:.2f} | {regret[1]:.2f} |")
    return "\n".join([*lines, ""])


def _plot(measured: dict[str, Measured], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for number, (name, each) in enumerate(measured.items()):
        places = np.arange(len(PREDICTORS)) + (number - (len(measured) - 1) / 2) * 0.15
        values = np.array([each.rho[predictor][0] for predictor in PREDICTORS])
        bounds = np.array(
            [np.quantile(each.rho[predictor][1:], (0.025, 0.975)) for predictor in PREDICTORS]
        ).T
        errors = np.abs(bounds - values)
        label = name if each.reliability > LEAST_RELIABLE else f"{name} (noise)"
        axes.errorbar(values, places, xerr=errors, fmt="o", markersize=4, linewidth=1, label=label)
    axes.set_yticks(range(len(PREDICTORS)), list(PREDICTORS))
    axes.invert_yaxis()
    axes.axvline(0, color="gray", linewidth=0.8)
    axes.set_xlabel("Spearman's ρ with the gains of whole trainings of other seeds, 95 %")
    figure.legend(loc="outside upper center", ncols=len(measured))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
