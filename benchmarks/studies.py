"""What studies cost beside their trials: planning 10,000 of them, and what an engine adds to trials of ten seconds.

``python benchmarks/studies.py plan`` and ``python benchmarks/studies.py overhead local|processes|ray [TRIALS]``; each
prints one line of figures. A trial's network sleeps, so that its time is the clock's and not that of a busy machine;
the trials run one after the other, and the engine's overhead is all time between the first one's beginning and the last
one's end that is in no training.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmhsa_insert.studies.ablate import run_study
from hmhsa_insert.studies.engines import Engine
from hmhsa_insert.studies.engines.local import LocalEngine
from hmhsa_insert.studies.engines.on_ray import RayEngine
from hmhsa_insert.studies.engines.processes import ProcessEngine
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.study_file import load_study

_SECONDS = 10.0
_UPDATES = 5
_SETTINGS = {"epochs": 1, "batch_size": 280, "input_size": 16, "augment": {"crop_pct": 1.0}}


class Sleeper(nn.Module):
    """A small network that takes its time in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 2, 2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if self.training and len(x) > 2:  # not where shapes are looked at
            time.sleep(_SECONDS / _UPDATES)
        scores: Tensor = self.layers(x)
        return scores


def sleeper() -> nn.Module:
    return Sleeper()


def plan(trials: int = 10_000) -> None:
    block = {"type": "hmhsa", "head_dim": 16}
    edit = {"op": "insert", "id": "attn", "at": {"stage": 3}, "block": block}
    axes = {
        "attn.at.stage": [1, 2, 3, 4],
        "attn.block.head_dim": [4, 8, 16],
        "attn.position": ["after", "before"],
    }
    study = {
        "version": 1,
        "models": ["test_resnet"],
        "data": "digits",
        "seeds": trials // 25,
        "settings": "digits",
        "variants": {"plain": None, "hmhsa": {"edits": [edit], "axes": axes}},
    }
    start, cpu = time.perf_counter(), time.process_time()
    planned = plan_study(load_study(study))
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    listed = len(planned.to_dict()["trials"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"planning {listed:,} trials ({len(planned.costs)} networks): {cpu_s:.1f} s of CPU, {seconds:.1f} s on the "
        f"clock, {peak:.2f} GB at the most, libraries included"
    )


def overhead(name: str, trials: int = 20) -> None:
    study = {
        "version": 1,
        "models": {"sleeper": "studies:sleeper"},
        "data": "digits",
        "seeds": trials,
        "settings": {"short": _SETTINGS},
        "variants": {"plain": None},
    }
    engines: dict[str, Engine] = {
        "local": LocalEngine(),
        "processes": ProcessEngine(1),
        "ray": RayEngine(None),
    }
    planned = plan_study(load_study(study))
    with tempfile.TemporaryDirectory() as folder:
        if name == "ray":
            import ray

            ray.init(num_cpus=1, log_to_driver=False, logging_level="ERROR")
        run_study(planned, Path(folder) / "study", engines[name])
        runs = [_times(path) for path in (Path(folder) / "study" / "trials").iterdir()]
    own = sum(run["end"] - run["start"] for run in runs)
    whole = max(run["commit"] for run in runs) - min(run["start"] for run in runs)
    print(
        f"{name}: {trials} trials of {own / trials:.2f} s, {whole:.1f} s in all: "
        f"{100 * (whole - own) / own:.2f} % of the trials' own time is the engine's"
    )


def _times(run: Path) -> dict[str, Any]:
    """Return when a trial's training began and ended, and when it was committed."""
    files = {"start": "config.yaml", "end": "result.json", "commit": "trial.json"}
    return {key: (run / file).stat().st_mtime for key, file in files.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["plan"]:
        plan()
    else:
        overhead(sys.argv[2], *map(int, sys.argv[3:]))
