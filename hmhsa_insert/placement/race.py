"""The race: short trainings of the plain network and of candidates, update by update on the same images."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from hmhsa_insert.training.reporter import OptimizerStep, Silent
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.task import Task

LOSSES = "losses.csv"
_LEAST_UPDATES = 8


@dataclass(frozen=True)
class Lead:
    """How far a candidate's training loss is below the plain network's, over the last half of a race.

    Attributes:
        mean: of the differences of the same updates; positive: the candidate's is lower.
        t: the mean over its standard error, from the means of √n stretches of n updates, which stand for the
            autocorrelation of the differences.
        p: two-sided, of Student's t with as many degrees of freedom as there are stretches less one.
        updates: n.
    """

    mean: float
    t: float
    p: float
    updates: int


def race_settings(settings: RunSettings, share: float, updates: int) -> RunSettings:
    """Return settings of a training of `share` of the optimizer steps, its schedule drawn together alike.

    Args:
        settings: of the whole training.
        share: of its steps, above 0 and at most 1.
        updates: in an epoch of the whole training.
    """
    steps = max(1, round(share * settings.epochs * updates))
    epochs = -(-steps // updates)
    scale = epochs / settings.epochs
    values: dict[str, Any] = settings.model_dump()
    values |= {"epochs": epochs, "epoch_steps": -(-steps // epochs), "trackers": ()}
    values["finetune"]["freeze_base_epochs"] = int(scale * settings.finetune.freeze_base_epochs)
    schedule = values["schedule"]
    schedule["warmup_epochs"] *= scale
    schedule["decay_epochs"] = max(1, round(scale * schedule["decay_epochs"]))
    kept = sorted({round(scale * epoch) for epoch in schedule["milestones"]} & set(range(1, epochs)))
    schedule["milestones"] = tuple(kept)
    if schedule["name"] == "multistep" and not kept:
        schedule["name"] = "constant"
    return load_settings(values, kind=type(settings))


def race(
    run: Task,
    recipe: Mapping[str, Any] | None,
    folder: Path,
    watch: Callable[[OptimizerStep], None] | None = None,
) -> NDArray[np.float64]:
    """Train one entrant, or go on with it, and return its training loss from update to update.

    Args:
        run: with the settings of the race, and no recipe.
        recipe: of the entrant; None: the plain network.
        folder: of its run.
        watch: is called after optimizer steps.
    """
    losses = folder.parent / f"{folder.name}-{LOSSES}"
    if not folder.exists():  # those of another run, which may have been longer
        losses.unlink(missing_ok=True)
    log = _LossLog(losses, watch)
    train_run(replace(run, recipe=recipe), folder, log)
    return log.losses()


def lead(plain: NDArray[np.float64], candidate: NDArray[np.float64]) -> Lead | None:
    """Compare the training losses of two entrants; None where there are too few updates to say anything.

    Args:
        plain: of the plain network, one number an update.
        candidate: of the same updates.
    """
    difference = (plain - candidate)[len(plain) // 2 :]
    if len(difference) < _LEAST_UPDATES:
        return None
    stretches = [part.mean() for part in np.array_split(difference, math.isqrt(len(difference)))]
    error = float(np.std(stretches, ddof=1)) / math.sqrt(len(stretches))
    mean = float(difference.mean())
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    return Lead(mean, t, float(2 * scipy.stats.t.sf(abs(t), len(stretches) - 1)), len(difference))


class _LossLog(Silent):
    """Writes the mean training loss of an epoch so far as its updates are done; a run that goes on adds to it."""

    def __init__(self, path: Path, watch: Callable[[OptimizerStep], None] | None = None) -> None:
        self._path, self._watch = path, watch

    def step(self, step: OptimizerStep) -> None:
        """Write one line."""
        if self._watch is not None:
            self._watch(step)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{step.epoch},{step.update},{step.loss!r}\n")

    def losses(self) -> NDArray[np.float64]:
        """Return the loss of each update; on an accelerator that of each few updates, whose mean is known together."""
        with self._path.open(encoding="utf-8", newline="") as file:
            # What was done again after a stop stands below what it replaces.
            means = {(int(epoch), int(update)): float(loss) for epoch, update, loss in csv.reader(file)}
        found, before = [], (0, 0, 0.0)
        for (epoch, update), mean in sorted(means.items()):
            done, total = before[1:] if before[0] == epoch else (0, 0.0)
            found.append((update * mean - total) / (update - done))
            before = (epoch, update, update * mean)
        return np.array(found)
